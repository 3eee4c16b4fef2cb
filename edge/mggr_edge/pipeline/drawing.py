"""Draw landmarks, gaze directions, and the label of a redirected frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, unit_vectors
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult

_REDIRECTED, _WEAKENED, _LEFT_ALONE = (60, 220, 90), (250, 200, 40), (240, 80, 70)
_BEFORE = (255, 255, 255)
_SHADE = (0, 0, 0)

_REACH = 1.6
"""Length of the arrow for a gaze straight to the side, divided by the eye width."""

_LIFT = 0.8
"""Height of the start of the arrows above the centre of the eye, divided by the eye width.

With this distance, the arrows do not hide the eye.
"""


def overlay(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Return the result frame with eye outlines, gaze arrows, and reasons for reduced strength.

    Eyes that are fully redirected are green. Eyes that are partly redirected are yellow. Eyes that
    are not redirected are red. The white arrow shows the estimated gaze, and the coloured arrow
    shows the target. Both directions are in the axes of the image.

    Args:
        before: [H, W, 3] uint8 input frame. It is not modified.
        result: result of the redirection.
    """
    shown = result.frame.copy()
    for face in result.faces:
        for eye in face.eyes:
            _draw_eye(shown, eye)
        _draw_label(shown, face)
    return shown


def _draw_eye(shown: NDArray[np.uint8], eye: EyeResult) -> None:
    colour, width = _colour(eye), _width_px(eye)
    points = np.rint(eye.outline * 16).astype(np.int32)
    cv2.polylines(shown, [points], True, colour, max(1, round(width / 90)), cv2.LINE_AA, shift=4)
    start = eye.outline.mean(axis=0) - np.array([0, _LIFT * width])
    if eye.gaze_before is not None:
        _arrow(shown, start, eye.gaze_before, _REACH * width, _BEFORE)
        if eye.strength > 0:
            _arrow(shown, start, eye.gaze_target, _REACH * width, colour)


def _arrow(
    shown: NDArray[np.uint8],
    start: NDArray[np.float32],
    gaze: Gaze,
    reach: float,
    colour: tuple[int, int, int],
) -> None:
    x, y, _ = unit_vectors(gaze.array())
    tip = start + reach * np.array([x, -y])
    first, last = (tuple(int(v) for v in np.rint(16 * point)) for point in (start, tip))
    for width, paint in ((_thickness(shown) + 2, _SHADE), (_thickness(shown), colour)):
        cv2.line(shown, first, last, paint, width, cv2.LINE_AA, shift=4)
        cv2.circle(shown, last, 16 * (width + 1), paint, -1, cv2.LINE_AA, shift=4)


def _draw_label(shown: NDArray[np.uint8], face: FaceResult) -> None:
    """Write the face number, the estimated gaze and the reasons in a line above the eyes."""
    outlines = np.concatenate([eye.outline for eye in face.eyes])
    scale = max(0.4, shown.shape[0] / 1400)
    # The label is above the eyes. Its distance from the eyes is a fraction of the distance between
    # the outer eye corners.
    at = outlines[:, 0].min(), outlines[:, 1].min() - 0.7 * _span_px(face)
    place = (max(0, int(at[0])), max(int(30 * scale), int(at[1])))
    for width, paint in ((_thickness(shown) + 2, _SHADE), (_thickness(shown), _BEFORE)):
        cv2.putText(
            shown, _label(face), place, cv2.FONT_HERSHEY_SIMPLEX, scale, paint, width, cv2.LINE_AA
        )


def _width_px(eye: EyeResult) -> float:
    """Return the distance between the eye corners in pixels; the head may be rolled."""
    points = eye.outline
    return float(np.linalg.norm(points[len(points) // 2] - points[0]))


def _span_px(face: FaceResult) -> float:
    """Return the distance in pixels between the outer eye corners; the head may be rolled."""
    right, left = face.eyes
    return float(np.linalg.norm(left.outline[0] - right.outline[0]))


def _label(face: FaceResult) -> str:
    parts = [f"face {face.identity}"]
    gaze = next((eye.gaze_before for eye in face.eyes if eye.gaze_before is not None), None)
    if gaze is not None:
        parts.append(f"pitch {gaze.pitch_deg:+.0f} yaw {gaze.yaw_deg:+.0f}")
    for eye in face.eyes:
        if eye.reason is not None:
            parts.append(f"{eye.side}: {eye.reason}")
    return ", ".join(parts)


def _colour(eye: EyeResult) -> tuple[int, int, int]:
    if eye.strength == 0:
        return _LEFT_ALONE
    return _REDIRECTED if eye.reason is None else _WEAKENED


def _thickness(shown: NDArray[np.uint8]) -> int:
    return max(1, round(shown.shape[0] / 700))


_TEXT = "gaze redirected"
_PART = 0.18
"""Width of the label as a fraction of the frame's shorter side."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def mark(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Return the result frame; if any eye is redirected, add a label at the bottom right.

    Args:
        before: [H, W, 3] uint8 input frame.
        result: result of the redirection.
    """
    if not any(eye.strength > 0 for face in result.faces for eye in face.eyes):
        return result.frame
    shown = result.frame.copy()
    height, width = shown.shape[:2]
    (unit, _), below = cv2.getTextSize(_TEXT, _FONT, 1.0, 1)
    scale = _PART * max(min(height, width), 240) / unit
    margin = round(12 * scale) + 2
    place = (width - margin - round(unit * scale), height - margin - round(below * scale))
    for paint, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(shown, _TEXT, place, _FONT, scale, paint, thickness, cv2.LINE_AA)
    return shown
