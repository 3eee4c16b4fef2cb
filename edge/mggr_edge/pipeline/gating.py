"""Limits on how far an eye may be redirected.

Each measure is mapped to a limit in [0, 1] that changes smoothly between two thresholds, so that
the strength does not jump when a head turns slowly. The smallest limit applies. `pair_strength`
computes the redirection strength of a face over time from the limits of both eyes.

A measure belongs to one of three groups, because each group has a different consequence:

| group | measures | consequence |
|---|---|---|
| `lids` | eye opening, visible part of the iris | both eyes are left unmodified at once |
| `seen` | narrow far eye of a turned head, occlusion | the other eye is redirected alone |
| `rest` | size, sharpness, mesh, head, implausible widths | both eyes are left unmodified |

Implausible widths are widths of the two eyes that the head pose does not explain.
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
    "easing in",
    "turned off",
]
"""Reason for a strength below the requested one.

In a video, "easing in" follows any of the other reasons while the strength rises. "turned off"
means that the caller requested a strength of 0.
"""


CLOSED_AT = 0.1
"""Limit of the lids at or below which an eye counts as closed. A closed eye never has a strength
above 0."""


@dataclass(frozen=True)
class Limits:
    """Thresholds of each measure: (value where the limit is 0, value where the limit is 1).

    Attributes:
        openness: distance between the lids in eye widths. Derived from blinks, which fall below 0.1
            in the trial clips, and from smiles and downcast eyes, which stay above 0.15.
        iris_visible: fraction of the iris disc that is between the lids. Derived from the geometry
            of the disc: a segment with 0.15 of the area is 0.21 diameters high, which is the part
            that lashes and the lid's shadow hide; a segment with 0.35 of the area is 0.38 diameters
            high, so that the pupil's edge is visible.
        occlusion: fraction of the eye opening that another object covers. With more than about half
            of the opening covered, the iris is covered in most positions; rims of glasses and
            strands of hair stay below a third.
        width_px: distance between the eye corners in pixels. Below ten pixels, an iris is two or
            three pixels wide, and landmarks miss it.
        sharpness: sharpness of the eye, see `eye_quality.sharpness`; lower values are blurred eyes.
        confidence: confidence of the face mesh, in [0, 1].
        relative_width: width of this eye divided by the width of the other eye. Set by hand: the
            nose hides the far eye of a turned head before the landmarks show it.
        far_yaw_deg: head yaw away from the camera on the eye's own side, in degrees. Derived from
            the face model: the line between the corners of an eye is at 13 degrees to the face
            plane, so a turn of 20 degrees makes the far eye narrower by 16 %. At smaller turns, a
            narrow eye is a landmark error and not a hidden eye.
        head_yaw_deg, head_pitch_deg: absolute head angles in degrees; the training images reach 30
            degrees of yaw.
        shift_deg: angle between the gaze and its target, in degrees; pairs in training differ by up
            to 36 degrees.
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


@dataclass(frozen=True)
class Gate:
    """Limit on the redirection strength and its reason.

    Attributes:
        strength: fraction of the full redirection, in [0, 1].
        reason: reason for the limit; None exactly when `strength` is 1.
    """

    strength: float
    reason: Reason | None


@dataclass(frozen=True)
class EyeGate:
    """Limits of one frame for one eye.

    Attributes:
        rest: limit from size, sharpness, mesh and head pose.
        seen: limit from causes that may hide this eye and not the other; 0 means hidden.
        lids: limit from the lids; 0 means closed.
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
        """Weight of this eye's estimate in the face's gaze, in [0, 1]; 0 for a closed eye."""
        return 0.0 if is_closed(self.lids) else self.allowed.strength

    def with_state(self, state: EyeState, limits: Limits) -> EyeGate:
        """Return a copy that also includes the limits from eye opening, iris and occlusion."""
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
    """Return the limits of one eye that are known before the estimator runs.

    Args:
        width_px: width of this eye in pixels.
        relative_width: width of this eye divided by the width of the other eye.
        sharpness: sharpness of this eye, see `eye_quality.sharpness`.
        confidence: confidence of the face mesh, in [0, 1].
        head_pose: head pose in the axes of the eye's crop, as in the training images from which the
            thresholds are derived.
        turned_away_deg: head yaw that turns this eye away from the camera, in degrees; negative for
            the near eye.
        limits: thresholds of the measures; None uses the defaults.
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
            # The head yaw does not explain the narrow eye, so its landmarks are wrong.
            gate_of(max(is_wide, 1.0 - is_near), "not clear"),
        ),
        seen=gate_of(max(is_wide, is_near), "head turned"),
    )


def gate_shift(shift_deg: float, limits: Limits | None = None) -> Gate:
    """Return the limit from the angle in degrees between a face's gaze and the target."""
    return _gate(shift_deg, (limits or Limits()).shift_deg, "gaze too far")


def is_closed(lids: Gate) -> bool:
    """Return whether an eye with this limit of the lids is closed."""
    return lids.strength <= CLOSED_AT


def gate_of(share: float, reason: Reason) -> Gate:
    """Return a gate with strength `share`, and with `reason` unless `share` is 1."""
    return Gate(share, None if share == 1.0 else reason)


def weakest(*gates: Gate) -> Gate:
    """Return the gate with the least strength; the first of equal gates."""
    return min(gates, key=lambda gate: gate.strength)


def _gate(value: float, limits: tuple[float, float], reason: Reason) -> Gate:
    return gate_of(_ramp(value, limits), reason)


def _ramp(value: float, limits: tuple[float, float]) -> float:
    """Return 0 at the first threshold and beyond, 1 at the second, and a smooth step between."""
    none, full = limits
    t = min(1.0, max(0.0, (value - none) / (full - none)))
    return t * t * (3.0 - 2.0 * t)


_LEAST_PX = 1e-6


def geometry_gates(
    face: Face, *, heads: Sequence[Gaze], clarities: Sequence[float], limits: Limits
) -> tuple[EyeGate, EyeGate]:
    """Return the limits from size, sharpness, mesh and head for the right and the left eye.

    Args:
        face: face as detected in the frame, not smoothed over time.
        heads: head pose in the axes of each eye's crop, right eye first.
        clarities: sharpness of each eye, see `eye_quality.sharpness_of_eye`.
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
            # A head that turns to the right of the image turns the subject's left eye away.
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
    """Return the limits combined with those from eye opening, iris and occlusion.

    Args:
        gates: limits of the right and the left eye.
        face: face as detected in the frame, because a smoothing filter would follow a blink only
            after its end.
        states: eye states from the estimator, right eye first; None computes the state from the
            landmarks.
        limits: thresholds of the measures.
    """
    right, left = (
        gate.with_state(state or state_from_landmarks(eye), limits)
        for gate, eye, state in zip(gates, face.eyes, states, strict=True)
    )
    return right, left
