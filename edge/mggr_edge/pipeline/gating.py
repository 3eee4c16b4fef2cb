"""Measures that decide how far an eye may be redirected.

Each measure gives a share that runs smoothly from 0 to 1 between two limits, so that nothing jumps
when a head turns slowly; the smallest share counts. `pair_strength` decides from the shares of both
eyes, over time, how far the face's eyes are redirected.

A measure belongs to one of three groups, because each group has another consequence:

| group | measures | consequence |
|---|---|---|
| `lids` | openness, visible part of the iris | both eyes are left alone at once |
| `seen` | narrow far eye of a turned head, occlusion | the other eye is redirected alone |
| `rest` | size, sharpness, mesh, head, widths that do not fit the head | both eyes are left alone |
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
"""Why an eye is not redirected as far as was asked for; "easing in" follows any of the others in
a video, "turned off" is asked for."""


CLOSED_AT = 0.1
"""Share of the lids at which an eye is closed: no closed eye may have a greater strength."""


@dataclass(frozen=True)
class Limits:
    """Limits of each measure: (share 0 here, share 1 here).

    Attributes:
        openness: distance between the lids in widths of the eye. Derived from blinks, which fall
            below 0.1 in the trial clips, and from smiles and downcast eyes, which stay above 0.15.
        iris_visible: part of the iris disc between the lids. Derived from the disc's geometry: a
            segment of 0.15 of its area is 0.21 diameters high, which is the part that lashes and
            the lid's shadow hide; of 0.35, 0.38 diameters, so that the pupil's edge shows.
        occlusion: part of the opening that something else covers. Derived from its meaning: with
            more than about half of the opening covered the iris is covered in most positions;
            glasses' rims and strands of hair stay below a third.
        width_px: corner to corner. Below ten pixels an iris is two or three
            pixels wide, and landmarks miss it.
        sharpness: see `sharpness.sharpness`; lower are eyes that are blurred away.
        confidence: of the face's mesh.
        relative_width: of the other eye's width. Set by hand: the nose hides the far eye of a
            turned head before its landmarks show it.
        far_yaw_deg: head yaw away from the camera on the eye's own side. Derived from the face
            model: the corners of both eyes are 13 degrees apart in direction, so a turn of 20
            degrees makes the far eye narrower by 16 %. Below it, a narrow eye is an error of the
            landmarks and not a hidden eye.
        head_yaw_deg, head_pitch_deg: training pictures end at 30 degrees of yaw.
        shift_deg: angle between the gaze and its target; pairs in training
            differ by up to 36 degrees.
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
    """A strength and what holds it back.

    Attributes:
        strength: in [0, 1], the share of the full redirection.
        reason: what holds it back; None exactly when `strength` is 1.
    """

    strength: float
    reason: Reason | None


@dataclass(frozen=True)
class EyeGate:
    """What one frame allows for one eye.

    Attributes:
        rest: by size, sharpness, mesh and head.
        seen: by what may hide this eye and not the other one; 0 is hidden.
        lids: by the lids; 0 is closed.
    """

    rest: Gate
    seen: Gate = Gate(1.0, None)
    lids: Gate = Gate(1.0, None)

    @property
    def allowed(self) -> Gate:
        """The smallest of the three."""
        return weakest(self.rest, self.seen, self.lids)

    @property
    def gaze_weight(self) -> float:
        """Weight of this eye's estimate in the face's gaze, in [0, 1]; 0 for a closed eye."""
        return 0.0 if is_closed(self.lids) else self.allowed.strength

    def with_state(self, state: EyeState, limits: Limits) -> EyeGate:
        """Adds what lids, iris and occlusion allow."""
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
    """Returns what one frame allows for one eye before the estimator has seen it.

    Args:
        width_px: of this eye.
        relative_width: this eye's width over the other one's.
        sharpness: of this eye.
        confidence: of the face's mesh.
        head_pose: in the axes of the eye's crop, as the training pictures behind the limits.
        turned_away_deg: head yaw that takes this eye away from the camera; negative for the near
            eye.
        limits: the default ones if None.
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
            # The head's turn does not explain the narrow eye, so its landmarks are wrong.
            gate_of(max(is_wide, 1.0 - is_near), "not clear"),
        ),
        seen=gate_of(max(is_wide, is_near), "head turned"),
    )


def gate_shift(shift_deg: float, limits: Limits | None = None) -> Gate:
    """Returns what the angle between a face's gaze and the target allows."""
    return _gate(shift_deg, (limits or Limits()).shift_deg, "gaze too far")


def is_closed(lids: Gate) -> bool:
    """Whether an eye with this gate of its lids is closed."""
    return lids.strength <= CLOSED_AT


def gate_of(share: float, reason: Reason) -> Gate:
    """A gate that `reason` holds back unless its share is 1."""
    return Gate(share, None if share == 1.0 else reason)


def weakest(*gates: Gate) -> Gate:
    """The gate of the least strength, the first one of equal ones."""
    return min(gates, key=lambda gate: gate.strength)


def _gate(value: float, limits: tuple[float, float], reason: Reason) -> Gate:
    return gate_of(_ramp(value, limits), reason)


def _ramp(value: float, limits: tuple[float, float]) -> float:
    """0 at the first limit and beyond, 1 at the second, a smooth step between."""
    none, full = limits
    t = min(1.0, max(0.0, (value - none) / (full - none)))
    return t * t * (3.0 - 2.0 * t)


_LEAST_PX = 1e-6


def geometry_gates(
    face: Face, *, heads: Sequence[Gaze], clarities: Sequence[float], limits: Limits
) -> tuple[EyeGate, EyeGate]:
    """Returns what size, sharpness, mesh and head allow for the right and the left eye.

    Args:
        face: as found in the frame, not steadied over time.
        heads: head pose in the axes of each eye's crop.
        clarities: of each eye, see `sharpness.sharpness_of_eye`.
        limits: of the measures.
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
            # A head that turns to the image's right takes the subject's left eye away.
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
    """Adds what lids, iris and occlusion allow.

    Args:
        gates: of the right and the left eye.
        face: as found in the frame; a blink is over before a filter follows it.
        states: of the estimator; None takes the state from the landmarks.
        limits: of the measures.
    """
    right, left = (
        gate.with_state(state or state_from_landmarks(eye), limits)
        for gate, eye, state in zip(gates, face.eyes, states, strict=True)
    )
    return right, left
