"""Measures of a face's eyes in one frame, and what they allow."""

from __future__ import annotations

from collections.abc import Sequence

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.eye_state import EyeState
from mggr_edge.pipeline.gating import EyeGate, Limits, gate_geometry
from mggr_edge.vision.face_finder import Face
from mggr_edge.vision.landmark_state import state_from_landmarks

_LEAST_PX = 1e-6


def geometry_gates(
    face: Face, *, heads: Sequence[Gaze], clarities: Sequence[float], limits: Limits
) -> tuple[EyeGate, EyeGate]:
    """Returns what size, sharpness, mesh and head allow for the right and the left eye.

    Args:
        face: as found in the frame, not steadied over time.
        heads: head pose in the axes of each eye's crop.
        clarities: of each eye, see `clarity.clarity_of_eye`.
        limits: of the measures.
    """
    widths = [max(eye.width_px, _LEAST_PX) for eye in face.eyes]
    yaw_deg = face.head_pose.yaw_deg
    right, left = (
        gate_geometry(
            width_px=own,
            relative_width=own / other,
            clarity=clarity,
            confidence=face.confidence,
            head_pose=head,
            # A head that turns to the image's right takes the subject's left eye away.
            turned_away_deg=away_deg,
            limits=limits,
        )
        for own, other, clarity, head, away_deg in zip(
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
