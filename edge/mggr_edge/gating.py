"""How far an eye may be redirected, and what holds it back.

Each hindrance gives a strength that runs smoothly from 0 to 1 between two
limits, so that nothing pops when a head turns slowly; the smallest one wins.
A closed eye is left alone entirely: there is no iris to move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mggr_edge.angles import Gaze
from mggr_edge.visibility import Visibility

Reason = Literal[
    "closed",
    "not clear",
    "covered",
    "too small",
    "head turned",
    "gaze too far",
    "easing in",
    "turned off",
]
"""Why an eye is not redirected as far as was asked for; "easing in" follows any of the others in
a video, "turned off" is asked for."""


@dataclass(frozen=True)
class Limits:
    """Where strength begins to fall and where it is gone: (0 here, 1 here).

    Attributes:
        openness: distance between the lids in widths of the eye. Blinks in the
            trial clips fall below 0.1, smiles and downcast eyes stay above 0.15.
        width_px: corner to corner. Below ten pixels an iris is two or three
            pixels wide, and landmarks miss it.
        clarity: see `clarity.clarity`; lower are eyes that are blurred away.
        likeness: see `likeness.likeness`; lower are eyes behind a hand, hair or a reflection.
        confidence: of the face's mesh.
        relative_width: of the other eye's width. The far eye of a turned head is
            hidden by the nose before its landmarks know it.
        head_yaw_deg, head_pitch_deg: training pictures end at 30 degrees of yaw.
        shift_deg: angle between the gaze and its target; pairs in training
            differ by up to 36 degrees.
    """

    openness: tuple[float, float] = (0.10, 0.16)
    width_px: tuple[float, float] = (10.0, 16.0)
    clarity: tuple[float, float] = (0.03, 0.07)
    likeness: tuple[float, float] = (-0.12, 0.0)
    confidence: tuple[float, float] = (0.5, 0.8)
    relative_width: tuple[float, float] = (0.45, 0.60)
    head_yaw_deg: tuple[float, float] = (42.0, 32.0)
    head_pitch_deg: tuple[float, float] = (40.0, 28.0)
    shift_deg: tuple[float, float] = (45.0, 30.0)


@dataclass(frozen=True)
class Gate:
    """The verdict on one eye.

    Attributes:
        strength: in [0, 1], the share of the full redirection.
        reason: what holds it back; None exactly when `strength` is 1.
    """

    strength: float
    reason: Reason | None


def gate(
    *,
    openness: float,
    width_px: float,
    relative_width: float,
    visible: Visibility,
    confidence: float,
    head_pose: Gaze,
    shift_deg: float = 0.0,
    limits: Limits | None = None,
) -> Gate:
    """Decides how far one eye may be redirected.

    Args:
        openness, width_px: of this eye; of a pair that can be seen, the smaller
            openness of both, because lids blink together and one redirected eye
            beside one that is not would squint.
        relative_width: this eye's width over the other one's.
        visible: how well this eye is to be seen.
        confidence: of the face.
        head_pose: in the axes of the eye's crop, as the training pictures behind the limits.
        shift_deg: angle between gaze and target; 0 while the gaze is unknown.
        limits: the default ones if None.
    """
    limits = limits or Limits()
    strengths: list[tuple[float, Reason]] = [
        (_ramp(openness, limits.openness), "closed"),
        (_ramp(width_px, limits.width_px), "too small"),
        (_ramp(visible.clarity, limits.clarity), "not clear"),
        (_ramp(visible.likeness, limits.likeness), "covered"),
        (_ramp(confidence, limits.confidence), "not clear"),
        (_ramp(relative_width, limits.relative_width), "head turned"),
        (_ramp(abs(head_pose.yaw_deg), limits.head_yaw_deg), "head turned"),
        (_ramp(abs(head_pose.pitch_deg), limits.head_pitch_deg), "head turned"),
        (_ramp(shift_deg, limits.shift_deg), "gaze too far"),
    ]
    strength, reason = min(strengths, key=lambda pair: pair[0])
    return Gate(strength, None if strength == 1.0 else reason)


def _ramp(value: float, limits: tuple[float, float]) -> float:
    """0 at the first limit and beyond, 1 at the second, a smooth step between."""
    none, full = limits
    t = min(1.0, max(0.0, (value - none) / (full - none)))
    return t * t * (3.0 - 2.0 * t)
