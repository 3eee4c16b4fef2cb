"""Results of a frame, its faces and its eyes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.models.network_io import EyeState
from mggr_edge.pipeline.compositing import ComposedEye, Region
from mggr_edge.pipeline.gating import Reason
from mggr_edge.vision.face_mesh import roll_of_eyes_deg


@dataclass(frozen=True)
class EyeResult:
    """Result of one eye.

    Attributes:
        side: side of the eye, from the subject's own view.
        outline: [16, 2] float32 frame pixels, corners and lids.
        gaze_before: gaze from which the eye was redirected, in the axes of the image; None if there
            is no estimate.
        gaze_target: target of the redirection, in the axes of the image.
        strength: fraction of the full redirection that was applied, in [0, 1].
        reason: reason for a strength below the requested one; None if there is no such reason.
        state: state of lids, iris and occlusion as estimated in this frame; None if the estimator
            has no such output or did not run.
        region: rectangle of the frame that `mask` covers; None if nothing was changed.
        mask: [h, w] float32 in [0, 1], above 0 where the region may have changed.
        composed: composition of the region, with which the change is repeated on other pixel values
            of the same frame.
    """

    side: Side
    outline: NDArray[np.float32]
    gaze_before: Gaze | None
    gaze_target: Gaze
    strength: float
    reason: Reason | None
    state: EyeState | None = None
    region: Region | None = None
    mask: NDArray[np.float32] | None = None
    composed: ComposedEye | None = None


@dataclass(frozen=True)
class FaceResult:
    """Result of one face of a frame.

    Attributes:
        identity: number of the face, constant over consecutive frames.
        landmarks: [468, 3] float32, landmarks without smoothing: x and y in frame pixels, depth in
            the same unit.
        head_pose: head pose relative to the camera, in the axes of the image, smoothed over time.
        eyes: the subject's right eye, then the left.
    """

    identity: int
    landmarks: NDArray[np.float32]
    head_pose: Gaze
    eyes: tuple[EyeResult, EyeResult]

    @property
    def roll_deg(self) -> float:
        """Angle in degrees of the line between the eyes in the image, positive clockwise."""
        return roll_of_eyes_deg(*(eye.outline.mean(axis=0) for eye in self.eyes))


@dataclass(frozen=True)
class FrameResult:
    """Redirected frame.

    Attributes:
        frame: [H, W, 3] uint8 RGB, a new array.
        faces: results of the faces; if empty, the frame is an unmodified copy.
        failure: error message; None if there was no error. After an error, the frame is an
            unmodified copy.
    """

    frame: NDArray[np.uint8]
    faces: tuple[FaceResult, ...]
    failure: str | None = None

    def mask(self) -> NDArray[np.bool_]:
        """Return [H, W] bool: True where a pixel may have changed; all others are bit-identical."""
        mask = np.zeros(self.frame.shape[:2], np.bool_)
        for face in self.faces:
            for eye in face.eyes:
                if eye.region is not None and eye.mask is not None:
                    mask[eye.region.slices] |= eye.mask > 0
        return mask


class FrameProcess(Protocol):
    """Function from frame to result: `Redirector.process` or a wrapper around it."""

    def __call__(
        self, frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> FrameResult: ...


View = Callable[[NDArray[np.uint8], FrameResult], NDArray[np.uint8]]
"""(input frame, its result) -> [H, W, 3] uint8 RGB, the frame to show."""


class Annotated:
    """Frame process that replaces the frame of each result by a view of it.

    Args:
        process: wrapped frame process.
        view: function that draws the view.
    """

    def __init__(self, process: FrameProcess, view: View) -> None:
        self._process, self._view = process, view

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Process a frame and return the result with its view."""
        result = self._process(frame, time_s=time_s)
        return replace(result, frame=self._view(frame, result))


def side_by_side(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Return the input frame on the left and the result on the right, twice as wide."""
    return np.concatenate([before, result.frame], axis=1)
