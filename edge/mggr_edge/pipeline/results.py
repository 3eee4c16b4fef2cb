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
    """What was done to one eye.

    Attributes:
        side: the subject's own side.
        outline: [16, 2] float32 frame pixels, corners and lids.
        gaze_before: the gaze that was redirected, in the picture's axes; None where the eye
            was not even looked at.
        gaze_target: where it was to look, in the picture's axes.
        strength: in [0, 1], how far that was carried out.
        reason: why less far than was asked for; None when it was not.
        state: of lids, iris and occlusion, as estimated in this frame; None from an estimator
            without that output, and where the eye was not looked at.
        region: the rectangle with `mask`; None where nothing was changed.
        mask: [h, w] float32 in [0, 1], what of the region may have changed.
        composed: how the region was changed, to be repeated on other values of the same frame.
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
    """One face of a frame.

    Attributes:
        identity: the same for the same face in following frames.
        landmarks: [468, 3] float32, as found: frame pixels, depth in the same unit.
        head_pose: relative to the camera, in the picture's axes, steadied over time.
        eyes: the subject's right eye, then the left.
    """

    identity: int
    landmarks: NDArray[np.float32]
    head_pose: Gaze
    eyes: tuple[EyeResult, EyeResult]

    @property
    def roll_deg(self) -> float:
        """Angle of the line between the eyes in the picture, + clockwise as seen."""
        return roll_of_eyes_deg(*(eye.outline.mean(axis=0) for eye in self.eyes))


@dataclass(frozen=True)
class FrameResult:
    """A redirected frame.

    Attributes:
        frame: [H, W, 3] uint8 RGB, a new array.
        faces: empty when none was found; the frame is then a plain copy.
        failure: what went wrong; the frame is then a plain copy too.
    """

    frame: NDArray[np.uint8]
    faces: tuple[FaceResult, ...]
    failure: str | None = None

    def mask(self) -> NDArray[np.bool_]:
        """[H, W], True where pixels may have changed; all others are bit-identical."""
        mask = np.zeros(self.frame.shape[:2], np.bool_)
        for face in self.faces:
            for eye in face.eyes:
                if eye.region is not None and eye.mask is not None:
                    mask[eye.region.slices] |= eye.mask > 0
        return mask


class FrameProcess(Protocol):
    """Frame in, result out: `Redirector.process`, or what passes frames on to it."""

    def __call__(
        self, frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> FrameResult: ...


View = Callable[[NDArray[np.uint8], FrameResult], NDArray[np.uint8]]
"""(frame as it came, its result) -> [H, W, 3] uint8 RGB, what is shown of it."""


class Annotated:
    """A process whose frames are views of what it made.

    Args:
        process: what is done to each frame.
        view: what is shown of it.
    """

    def __init__(self, process: FrameProcess, view: View) -> None:
        self._process, self._view = process, view

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Passes a frame through."""
        result = self._process(frame, time_s=time_s)
        return replace(result, frame=self._view(frame, result))


def side_by_side(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """The frame as it came on the left, as it is now on the right: twice as wide."""
    return np.concatenate([before, result.frame], axis=1)
