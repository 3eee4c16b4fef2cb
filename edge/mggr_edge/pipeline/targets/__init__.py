"""Where eyes shall look: one direction, a series of them in a file, or natural glances."""

from __future__ import annotations

from typing import Protocol

from mggr_edge.geometry.angles import Gaze


class Aim(Protocol):
    """Where eyes shall look, as time goes on."""

    def at(self, time_s: float) -> Gaze:
        """The target at a time in seconds; a time that goes back far belongs to another video."""
        ...
