"""What `--target` means: the camera, or a direction in degrees."""

from __future__ import annotations

from dataclasses import dataclass

from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze

CAMERA = Gaze(0.0, 0.0)

MAX_PITCH_DEG = 20.0
MAX_YAW_DEG = 30.0
"""Twice what the networks were trained on (10 and 15 degrees); further out they only invent."""


@dataclass(frozen=True)
class FixedAim:
    """One direction for ever."""

    target: Gaze

    def at(self, time_s: float) -> Gaze:
        """The target, whatever the time."""
        return self.target


def parse_target(text: str) -> Gaze:
    """Reads a target.

    Args:
        text: "camera", or "PITCH,YAW" in degrees: pitch + up, yaw + to the
            image's right.

    Raises:
        UsageError: anything else, or an angle that is out of range.

    Example:
        >>> parse_target("5,-10")
        Gaze(pitch_deg=5.0, yaw_deg=-10.0)
    """
    if text.strip().lower() == "camera":
        return CAMERA
    try:
        pitch_deg, yaw_deg = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"target {text!r} is neither 'camera' nor PITCH,YAW in degrees, such as 5,-10"
        ) from None
    try:
        return check_target(pitch_deg, yaw_deg)
    except UsageError as error:
        raise UsageError(f"target {text!r}: {error} (PITCH,YAW)") from None


def check_target(pitch_deg: float, yaw_deg: float) -> Gaze:
    """The direction, if eyes can be made to look there.

    Raises:
        UsageError: an angle that is out of range, or none.
    """
    for name, value, limit in (
        ("pitch", pitch_deg, MAX_PITCH_DEG),
        ("yaw", yaw_deg, MAX_YAW_DEG),
    ):
        # Written so that nan, which is no number's neighbour, fails too.
        if not -limit <= value <= limit:
            raise UsageError(f"{name} is {value:g} degrees, expected {-limit:g} to {limit:g}")
    return Gaze(pitch_deg, yaw_deg)
