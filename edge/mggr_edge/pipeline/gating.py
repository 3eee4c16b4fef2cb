"""Calculate limits on the strength with which an eye may be redirected.

The strength is the fraction of the full redirection that is applied, in [0, 1]. Several measures
limit the strength, for example the eye opening. Each measure is converted to a limit in [0, 1]. The
limit changes smoothly between two thresholds of the measure. Therefore the strength does not jump
when a head turns slowly. The smallest limit applies. `pair_strength` calculates the strength of
both eyes over time from the limits of both eyes.

Each measure belongs to one of three groups, because the groups have different consequences:

| group | measures | consequence |
|---|---|---|
| `lids` | eye opening, visible part of the iris | neither eye is redirected (immediate change) |
| `seen` | narrow far eye of a turned head, occlusion | only the other eye is redirected |
| `rest` | size, sharpness, mesh, head, implausible widths | neither eye is redirected |

The widths of the two eyes are implausible if the head pose does not explain their difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.network_io import EyeState
from mggr_edge.vision.eye_quality import state_from_landmarks
from mggr_edge.vision.face_finder import Face

Reason = Literal[
    "closed",
    "not clear",
    "covered",
    "too small",
    "head turned",
    "gaze too far",
    "on target",
    "easing in",
    "turned off",
]
"""Reason why the strength is below the requested strength.

"on target" means that the gaze is so near the target that a person already looks there.
"easing in" occurs in videos. It means that the strength still increases after one of the other
reasons has ended. "turned off" means that the caller requested a strength of 0.
"""


CLOSED_AT = 0.1
"""Maximum limit of the group `lids` for a closed eye.

If the limit is above this value, the eye is not closed. The strength of a closed eye is always 0.
"""


@dataclass(frozen=True)
class Limits:
    """Two thresholds of each measure: the values at which the limit is 0 and 1, in this order.

    Attributes:
        openness: distance between the lids divided by the eye width. In the trial clips, the value
            is below 0.1 in blinks. It is above 0.15 for smiles and for eyes that look down.
        iris_visible: fraction of the iris disc that is between the lids. The thresholds follow from
            the geometry of the disc. A segment with 0.15 of the area has a height of 0.21
            diameters. Lashes and the lid's shadow hide such a segment. A segment with 0.35 of the
            area has a height of 0.38 diameters. In such a segment, the edge of the pupil is
            visible.
        occlusion: fraction of the eye opening that another object covers. If more than about half
            of the opening is covered, the iris is covered in most positions. Rims of glasses and
            strands of hair cover less than a third.
        width_px: distance between the eye corners in pixels. If it is less than ten pixels, the
            iris is two or three pixels wide, and the landmarks miss the iris.
        sharpness: sharpness of the eye, see `eye_quality.sharpness`. Blurred eyes have low values.
        confidence: confidence of the face mesh, in [0, 1].
        relative_width: width of this eye divided by the width of the other eye. The thresholds were
            set by hand. If a head turns, the nose hides the far eye before the landmarks show this.
        far_yaw_deg: head yaw in degrees that turns this eye away from the camera. The thresholds
            follow from the face model. In this model, the line between the corners of an eye is at
            an angle of 13 degrees to the face plane. Therefore a turn of 20 degrees makes the far
            eye narrower by 16 %. At smaller turns, a narrow eye means that the landmarks are wrong,
            not that the eye is hidden.
        head_yaw_deg, head_pitch_deg: absolute head angles in degrees. The training images have head
            yaws of up to 30 degrees.
        shift_deg: angle between the gaze and its target, in degrees. In training, the two gazes of
            a pair differ by up to 36 degrees.
        tolerance_deg: angle between the gaze and its target, in degrees. People feel looked at
            within a cone of 5.2 degrees in diameter (Horstmann, Linke, Examining Gaze Cone Shape
            and Size, Perception 2021). The first threshold is half of this diameter. Below it, the
            eye is not changed. The second threshold is twice the first. It was set by hand. Above
            it, the eye is fully redirected.
    """

    openness: tuple[float, float] = (0.10, 0.16)
    iris_visible: tuple[float, float] = (0.15, 0.35)
    occlusion: tuple[float, float] = (0.55, 0.30)
    width_px: tuple[float, float] = (10.0, 16.0)
    sharpness: tuple[float, float] = (0.03, 0.07)
    confidence: tuple[float, float] = (0.5, 0.8)
    relative_width: tuple[float, float] = (0.52, 0.60)
    far_yaw_deg: tuple[float, float] = (20.0, 10.0)
    head_yaw_deg: tuple[float, float] = (42.0, 32.0)
    head_pitch_deg: tuple[float, float] = (40.0, 28.0)
    shift_deg: tuple[float, float] = (45.0, 30.0)
    tolerance_deg: tuple[float, float] = (2.6, 5.2)


@dataclass(frozen=True)
class Gate:
    """A limit on the redirection strength, and the reason for the limit.

    Attributes:
        strength: fraction of the full redirection, in [0, 1].
        reason: reason for the limit. It is `None` if and only if `strength` is 1.
    """

    strength: float
    reason: Reason | None


@dataclass(frozen=True)
class EyeGate:
    """The limits of one eye in one frame.

    Attributes:
        rest: limit from size, sharpness, face mesh and head pose.
        seen: limit from causes that may hide this eye but not the other eye. The value 0 means that
            the eye is hidden.
        lids: limit from the lids. The value 0 means that the eye is closed.
    """

    rest: Gate
    seen: Gate = Gate(1.0, None)
    lids: Gate = Gate(1.0, None)

    @property
    def allowed(self) -> Gate:
        """Smallest of the three limits."""
        return weakest(self.rest, self.seen, self.lids)

    @property
    def gaze_weight(self) -> float:
        """Weight of this eye's estimate in the mean gaze of the face, in [0, 1].

        The weight of a closed eye is 0.
        """
        return 0.0 if is_closed(self.lids) else self.allowed.strength

    def with_state(self, state: EyeState, limits: Limits) -> EyeGate:
        """Return a copy that also has the limits from eye opening, iris and occlusion."""
        return replace(
            self,
            seen=weakest(self.seen, _gate(state.occlusion, limits.occlusion, "covered")),
            lids=weakest(
                _gate(state.openness, limits.openness, "closed"),
                _gate(state.iris_visible, limits.iris_visible, "closed"),
            ),
        )


def gate_geometry(
    *,
    width_px: float,
    relative_width: float,
    sharpness: float,
    confidence: float,
    head_pose: Gaze,
    turned_away_deg: float,
    limits: Limits | None = None,
) -> EyeGate:
    """Return the limits of one eye that can be calculated before the estimator runs.

    Args:
        width_px: width of this eye in pixels.
        relative_width: width of this eye divided by the width of the other eye.
        sharpness: sharpness of this eye, see `eye_quality.sharpness`.
        confidence: confidence of the face mesh, in [0, 1].
        head_pose: head pose in the axes of the eye's crop. The thresholds were derived from the
            training images, in which head poses have the same axes.
        turned_away_deg: head yaw in degrees that turns this eye away from the camera. It is
            negative for the eye that is nearer to the camera.
        limits: thresholds of the measures. With `None`, the default thresholds are used.
    """
    limits = limits or Limits()
    is_wide = _ramp(relative_width, limits.relative_width)
    is_near = _ramp(turned_away_deg, limits.far_yaw_deg)
    return EyeGate(
        rest=weakest(
            _gate(width_px, limits.width_px, "too small"),
            _gate(sharpness, limits.sharpness, "not clear"),
            _gate(confidence, limits.confidence, "not clear"),
            _gate(abs(head_pose.yaw_deg), limits.head_yaw_deg, "head turned"),
            _gate(abs(head_pose.pitch_deg), limits.head_pitch_deg, "head turned"),
            # The eye is narrow, but the head yaw does not explain this. So the landmarks are wrong.
            gate_of(max(is_wide, 1.0 - is_near), "not clear"),
        ),
        seen=gate_of(max(is_wide, is_near), "head turned"),
    )


def gate_shift(shift_deg: float, limits: Limits | None = None) -> Gate:
    """Return the limit that follows from the angle in degrees between the gaze and the target."""
    return _gate(shift_deg, (limits or Limits()).shift_deg, "gaze too far")


def gate_tolerance(shift_deg: float, limits: Limits | None = None) -> Gate:
    """Return the limit for gazes near the target: 0 if the angle in degrees is within tolerance."""
    return _gate(shift_deg, (limits or Limits()).tolerance_deg, "on target")


def is_closed(lids: Gate) -> bool:
    """Return whether an eye with this limit of the group `lids` is closed."""
    return lids.strength <= CLOSED_AT


def gate_of(share: float, reason: Reason) -> Gate:
    """Return a gate with the strength `share`; its reason is `None` if `share` is 1."""
    return Gate(share, None if share == 1.0 else reason)


def weakest(*gates: Gate) -> Gate:
    """Return the gate with the smallest strength, or the first of several such gates."""
    return min(gates, key=lambda gate: gate.strength)


def _gate(value: float, limits: tuple[float, float], reason: Reason) -> Gate:
    return gate_of(_ramp(value, limits), reason)


def _ramp(value: float, limits: tuple[float, float]) -> float:
    """Return the limit in [0, 1] for a value: the smoothstep function between two thresholds.

    The limit rises from 0 at the first threshold to 1 at the second threshold. Outside this range,
    the limit stays at 0 or 1.
    """
    none, full = limits
    t = min(1.0, max(0.0, (value - none) / (full - none)))
    return t * t * (3.0 - 2.0 * t)


_LEAST_PX = 1e-6


def geometry_gates(
    face: Face, *, heads: Sequence[Gaze], clarities: Sequence[float], limits: Limits
) -> tuple[EyeGate, EyeGate]:
    """Return the limits from size, sharpness, mesh and head for the right and the left eye.

    Args:
        face: face as detected in the frame, without smoothing over time.
        heads: head pose in the axes of each eye's crop. The right eye is first.
        clarities: sharpness of each eye, see `eye_quality.sharpness_of_eye`. The right eye is
            first.
        limits: thresholds of the measures.
    """
    widths = [max(eye.width_px, _LEAST_PX) for eye in face.eyes]
    yaw_deg = face.head_pose.yaw_deg
    right, left = (
        gate_geometry(
            width_px=own,
            relative_width=own / other,
            sharpness=sharpness,
            confidence=face.confidence,
            head_pose=head,
            # If the head turns to the image's right, the subject's left eye is turned away.
            turned_away_deg=away_deg,
            limits=limits,
        )
        for own, other, sharpness, head, away_deg in zip(
            widths, reversed(widths), clarities, heads, (-yaw_deg, yaw_deg), strict=True
        )
    )
    return right, left


def with_states(
    gates: tuple[EyeGate, EyeGate],
    face: Face,
    states: Sequence[EyeState | None],
    *,
    limits: Limits,
) -> tuple[EyeGate, EyeGate]:
    """Combine the given limits with the limits from eye opening, iris and occlusion.

    Args:
        gates: limits of the right and the left eye.
        face: face as detected in the frame, without smoothing over time. With smoothing, a blink
            would be noticed too late, after its end.
        states: eye states from the estimator, the right eye first. If a state is `None`, it is
            calculated from the landmarks.
        limits: thresholds of the measures.
    """
    right, left = (
        gate.with_state(state or state_from_landmarks(eye), limits)
        for gate, eye, state in zip(gates, face.eyes, states, strict=True)
    )
    return right, left
