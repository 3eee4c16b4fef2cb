"""What a live source has been like so far, for who looks on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Counted by `live_run` while it goes on.

    Attributes:
        dropped: frames that came while another was in work.
        left_out: frames that were not taken on purpose, as there was too much to do.
        reconnected: how often the source came back.
    """

    dropped: int = 0
    left_out: int = 0
    reconnected: int = 0
