"""What is known of one eye patch, whatever kind of source it came from."""

from __future__ import annotations

from dataclasses import dataclass

from mggr_edge.geometry.angles import Gaze, Side


@dataclass(frozen=True)
class EyeLabel:
    """One patch's labels, as photographed: nothing mirrored.

    Attributes:
        subject: who; patches of one person carry one name.
        side: the subject's own.
        head: where the face points, relative to the camera.
        gaze: where the eye looks, relative to the camera; None where nobody said.
    """

    subject: str
    side: Side
    head: Gaze
    gaze: Gaze | None
