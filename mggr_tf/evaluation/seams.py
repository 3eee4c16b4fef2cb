"""Measure seams along the borders of redirected eyes.

A seam is a visible border between the redirected pixels and the rest of the frame. The measure is
the gradient along the border of the mask, divided by the gradient at the same pixels of the input.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.eye_crop import crop_patch
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.vision.iris import Eye

_BORDER_KERNEL = np.ones((3, 3), np.uint8)


class Seams:
    """Collects the gradients along the borders of the redirected eyes of a clip.

    The control is the network's small square picture, enlarged and pasted with hard edges. The hard
    edges form a visible seam, so the ratio of the control must be high.

    Args:
        bundle: networks that redirect the eyes.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._before: list[NDArray[np.float32]] = []
        self._after: list[NDArray[np.float32]] = []
        self._under: list[NDArray[np.float32]] = []
        self._pasted: list[NDArray[np.float32]] = []

    def add(
        self, frame: NDArray[np.uint8], result: FrameResult, eye: EyeResult, face: FaceResult
    ) -> None:
        """Add the border of one redirected eye.

        Args:
            frame: input frame [H, W, 3] uint8 RGB.
            result: result of the frame.
            eye: result of the eye. It must have a mask.
            face: face of the eye.
        """
        assert eye.region is not None
        assert eye.mask is not None
        border = _border((eye.mask > 0).astype(np.uint8))
        self._before.append(_gradient(frame[eye.region.slices])[border])
        self._after.append(_gradient(result.frame[eye.region.slices])[border])
        pasted, square = self._paste(frame, eye, face)
        self._under.append(_gradient(frame)[_border(square)])
        self._pasted.append(_gradient(pasted)[_border(square)])

    @property
    def border_gradient(self) -> float | None:
        """95th percentile of the gradients, divided by that of the input."""
        return _ratio(self._after, self._before)

    @property
    def pasted_gradient(self) -> float | None:
        """Same ratio for the control."""
        return _ratio(self._pasted, self._under)

    def _paste(
        self, frame: NDArray[np.uint8], eye: EyeResult, face: FaceResult
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the control, and the mask [H, W] of its square: 1 inside and 0 outside."""
        crop = Eye(eye.side, eye.outline, (0.0, 0.0), 0.0).crop(self._bundle.contract.conventions)
        small = self._bundle.redirect_eye(
            crop_patch(frame, crop),
            side=eye.side,
            source=None if eye.gaze_before is None else eye.gaze_before.rolled(crop.roll_deg),
            target=eye.gaze_target.rolled(crop.roll_deg),
            head_pose=face.head_pose.rolled(crop.roll_deg),
        )
        size, placed = (frame.shape[1], frame.shape[0]), crop.frame_from_eye()
        square = cv2.warpAffine(np.ones(small.shape[:2], np.uint8), placed, size)
        large = cv2.warpAffine(
            small, placed, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.where(square[..., None] > 0, large, frame), square


def _border(inside: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the border of a region [h, w].

    The border consists of the last pixels inside the region and the first pixels outside.
    """
    outside = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    return cv2.dilate(inside, _BORDER_KERNEL, **outside) != cv2.erode(inside, _BORDER_KERNEL)


def _gradient(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


def _ratio(one: list[NDArray[np.float32]], other: list[NDArray[np.float32]]) -> float | None:
    """Return the ratio of two 95th percentiles. `None` if there are no values, or if one is 0."""
    if not one:
        return None
    above, below = (float(np.percentile(np.concatenate(values), 95)) for values in (one, other))
    return above / below if below else None
