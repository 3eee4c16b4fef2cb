"""Where faces are: MediaPipe's full-range BlazeFace [1] on a whole frame.

The frame is fitted into the network's square. The network divides it into a
grid of cells; each cell gives a score, a box and six points relative to the
cell's centre. Overlapping answers are averaged by score, which is steadier
from frame to frame than keeping the best one (the "blending" of [1]).

References:
    [1] Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection on
        Mobile GPUs, 2019. Model: MediaPipe, Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.runtimes import Runner

_INPUT, _BOXES, _SCORES = "input", "reshaped_regressor_face_4", "reshaped_classifier_face_4"
_SIZE_PX = 192
_STRIDE_PX = 4
"""One cell, with one anchor at its centre, per 4 x 4 input pixels: 48 x 48 cells."""

_SAME_FACE_IOU = 0.3
_MAX_LOGIT = 80.0


@dataclass(frozen=True)
class Detection:
    """A face as the detector sees it, in frame pixels.

    Attributes:
        confidence: in [0, 1].
        box: (left, top, right, bottom).
        points: [6, 2] the subject's right eye, left eye, nose tip, mouth, right
            ear, left ear.
    """

    confidence: float
    box: tuple[float, float, float, float]
    points: NDArray[np.float32]


class FaceDetector:
    """Finds faces in frames of any size.

    Args:
        runner: the model `face_detector` of a bundle.
        min_confidence: 0.5 kept every face of the trial pictures that the mesh
            could use, and backs of heads and hands out.
    """

    def __init__(self, runner: Runner, *, min_confidence: float = 0.5) -> None:
        self._runner = runner
        self._min_confidence = min_confidence

    def detect(self, frame: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Finds faces.

        Args:
            frame: [H, W, 3] uint8 RGB.

        Returns:
            Detections, most confident first.
        """
        square, frame_per_square, offset_px = _fit_into_square(frame)
        outputs = self._runner({_INPUT: square[None].astype(np.float32) / 127.5 - 1.0})
        scores = _sigmoid(outputs[_SCORES][0, :, 0])
        confident = scores >= self._min_confidence
        places = _decode(outputs[_BOXES][0][confident], _anchors()[confident])
        places = (places - offset_px) * frame_per_square
        return tuple(
            Detection(confidence, (*place[0], *place[1]), place[2:].astype(np.float32))
            for confidence, place in _merge(scores[confident], places)
        )


def _fit_into_square(
    frame: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], float, NDArray[np.float64]]:
    """The frame, shrunk and centred on black; its scale; the black margin (x, y)."""
    height, width = frame.shape[:2]
    frame_per_square = max(height, width) / _SIZE_PX
    inner_w = max(1, round(width / frame_per_square))
    inner_h = max(1, round(height / frame_per_square))
    left, top = (_SIZE_PX - inner_w) // 2, (_SIZE_PX - inner_h) // 2
    square = np.zeros((_SIZE_PX, _SIZE_PX, 3), np.uint8)
    square[top : top + inner_h, left : left + inner_w] = cv2.resize(
        frame, (inner_w, inner_h), interpolation=cv2.INTER_AREA
    )
    return square, frame_per_square, np.asarray([left, top], np.float64)


def _anchors() -> NDArray[np.float64]:
    """[2304, 2] cell centres in input pixels, row by row."""
    centres = np.arange(0, _SIZE_PX, _STRIDE_PX) + _STRIDE_PX / 2
    x, y = np.meshgrid(centres, centres)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def _decode(raw: NDArray[np.float32], anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 16] answers of cells to [N, 8, 2] input pixels: two box corners, six points."""
    pairs = raw.astype(np.float64).reshape(-1, 8, 2)
    centre = pairs[:, 0] + anchors
    half = pairs[:, 1] / 2
    points = pairs[:, 2:] + anchors[:, None]
    return np.concatenate([(centre - half)[:, None], (centre + half)[:, None], points], axis=1)


def _merge(
    scores: NDArray[np.float64], places: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64]]]:
    """Averages what overlaps: [N], [N, 8, 2] -> (confidence, [8, 2]), best first."""
    faces = []
    left = np.argsort(-scores, kind="stable")
    while left.size:
        same = _overlap(places[left[0]], places[left]) > _SAME_FACE_IOU
        same[0] = True
        group = left[same]
        faces.append(
            (float(scores[left[0]]), np.average(places[group], axis=0, weights=scores[group]))
        )
        left = left[~same]
    return faces


def _overlap(one: NDArray[np.float64], many: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of the box of [8, 2] with those of [N, 8, 2]."""
    near = np.maximum(one[0], many[:, 0])
    far = np.minimum(one[1], many[:, 1])
    shared = np.prod(np.maximum(far - near, 0.0), axis=-1)
    union = np.prod(one[1] - one[0]) + np.prod(many[:, 1] - many[:, 0], axis=-1) - shared
    return shared / np.maximum(union, 1e-9)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)))
