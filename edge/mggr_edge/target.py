"""What `--target` means: the camera, or a direction in degrees."""

from __future__ import annotations

from mggr_edge.angles import Gaze
from mggr_edge.errors import UsageError

CAMERA = Gaze(0.0, 0.0)

MAX_PITCH_DEG = 20.0
MAX_YAW_DEG = 30.0
"""Twice what the networks are taught (10 and 15 degrees); further out they only invent."""


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
    for name, value, limit in (
        ("pitch", pitch_deg, MAX_PITCH_DEG),
        ("yaw", yaw_deg, MAX_YAW_DEG),
    ):
        # Written so that nan, which is no number's neighbour, fails too.
        if not -limit <= value <= limit:
            raise UsageError(
                f"target {text!r}: {name} is {value:g} degrees, "
                f"expected {-limit:g} to {limit:g} (PITCH,YAW)"
            )
    return Gaze(pitch_deg, yaw_deg)
