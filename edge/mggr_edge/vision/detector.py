"""Detect faces in a whole frame with MediaPipe's full-range BlazeFace [1].

The frame is resized to fit into the square input of the network. The network divides its input into
a grid of cells. For each cell, it predicts a score, a box, and six points relative to the centre of
the cell. Overlapping detections are averaged, and their scores are the weights. Reference [1] calls
this "blending". The result is more stable from frame to frame than the single best detection.

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
"""Side of a cell in input pixels. There are 48 x 48 cells, each with one anchor at its centre."""

_SAME_FACE_IOU = 0.3
_MAX_LOGIT = 80.0


@dataclass(frozen=True)
class Detection:
    """A detected face, in frame pixels.

    Attributes:
        confidence: confidence of the detection in [0, 1].
        box: bounding box (left, top, right, bottom).
        points: [6, 2] points of right eye, left eye, nose tip, mouth, right ear and left ear. Right
            and left are from the subject's point of view.
    """

    confidence: float
    box: tuple[float, float, float, float]
    points: NDArray[np.float32]


class FaceDetector:
    """Face detector for frames of any size.

    Args:
        runner: the model `face_detector` of a bundle.
        min_confidence: the minimum confidence of a detection. In the test pictures, a value of 0.5
            kept every face that the face mesh could use. The value also rejected hands and the
            backs of heads.
    """

    def __init__(self, runner: Runner, *, min_confidence: float = 0.5) -> None:
        self._runner = runner
        self._min_confidence = min_confidence

    def detect(self, frame: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Detect the faces in a frame.

        Args:
            frame: [H, W, 3] uint8 RGB frame.

        Returns:
            The detections in order of decreasing confidence.
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
    """Resize a frame so that it fits into the square input of the network; the rest is black.

    Returns:
        (square [192, 192, 3], frame pixels per input pixel, offset). The offset is the position
        (x, y) of the frame in the square, in input pixels.
    """
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
    """Return the centres of the cells in input pixels, [2304, 2], row by row."""
    centres = np.arange(0, _SIZE_PX, _STRIDE_PX) + _STRIDE_PX / 2
    x, y = np.meshgrid(centres, centres)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def _decode(raw: NDArray[np.float32], anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert the predictions [N, 16] of N cells to points [N, 8, 2] in input pixels.

    The 8 points are two opposite corners of the box and the six face points.
    """
    pairs = raw.astype(np.float64).reshape(-1, 8, 2)
    centre = pairs[:, 0] + anchors
    half = pairs[:, 1] / 2
    points = pairs[:, 2:] + anchors[:, None]
    return np.concatenate([(centre - half)[:, None], (centre + half)[:, None], points], axis=1)


def _merge(
    scores: NDArray[np.float64], places: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64]]]:
    """Average overlapping detections; the weights are their scores.

    Args:
        scores: [N] confidences in [0, 1].
        places: [N, 8, 2] points of the detections.

    Returns:
        One (confidence, points [8, 2]) per face, in order of decreasing confidence. The confidence
        is the highest score among the averaged detections.
    """
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
    """Return the overlap of one box with each of N boxes, as intersection over union.

    Args:
        one: [8, 2] points of a detection.
        many: [N, 8, 2] points of N detections. The first two points are the corners of the box.
    """
    near = np.maximum(one[0], many[:, 0])
    far = np.minimum(one[1], many[:, 1])
    shared = np.prod(np.maximum(far - near, 0.0), axis=-1)
    union = np.prod(one[1] - one[0]) + np.prod(many[:, 1] - many[:, 0], axis=-1) - shared
    return shared / np.maximum(union, 1e-9)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)))
