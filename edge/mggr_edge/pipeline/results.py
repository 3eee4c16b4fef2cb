"""Define the results of a frame, of its faces and of its eyes.

A frame process is a function that returns the result of a frame. Two classes wrap a frame process:
`PassThroughOnError` handles its errors, and `Annotated` draws on its results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MggrError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.models.network_io import EyeState
from mggr_edge.pipeline.compositing import ComposedEye, Region
from mggr_edge.pipeline.frame_formats import Color, size_of
from mggr_edge.pipeline.gating import Reason
from mggr_edge.vision.face_mesh import roll_of_eyes_deg


@dataclass(frozen=True)
class EyeResult:
    """Result of one eye.

    Attributes:
        side: the side of the eye from the subject's point of view.
        outline: [16, 2] float32 points (x, y) on the eye corners and lids, in frame pixels.
        gaze_before: gaze before redirection, in the axes of the image. `None` means that there is
            no estimate.
        gaze_target: target of the redirection, in the axes of the image.
        strength: fraction of the full redirection that was applied, in [0, 1].
        reason: reason why the strength is below the requested strength. `None` means that the
            strength is not reduced.
        state: estimated state of lids, iris and occlusion in this frame. `None` means that the
            estimator has no output for this state, or that it did not run.
        region: rectangle of the frame that `mask` covers. `None` means that the eye was not
            changed.
        mask: [h, w] float32 mask in [0, 1]. Where the mask is above 0, pixels may have changed.
        composed: the redirected eye before it is written into the frame. With `composed`, a caller
            can apply the change to a version of the frame with other pixel values, for example
            10-bit values.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serializable values, without pixels.

        Angles are (pitch, yaw) in degrees, in the axes of the image: positive pitch is up, and
        positive yaw is to the right.
        """
        return {
            "side": self.side,
            "centre_px": [round(float(v), 1) for v in self.outline.mean(axis=0)],
            "gaze_deg": _angles(self.gaze_before),
            "target_deg": _angles(self.gaze_target),
            "strength": round(self.strength, 3),
            "reason": self.reason,
        }


def _angles(gaze: Gaze | None) -> list[float] | None:
    return None if gaze is None else [round(gaze.pitch_deg, 2), round(gaze.yaw_deg, 2)]


@dataclass(frozen=True)
class FaceResult:
    """Result of one face of a frame.

    Attributes:
        identity: number of the face. A face keeps its number in consecutive frames.
        landmarks: [468, 3] float32 landmarks without smoothing. x and y are in frame pixels. The
            depth has the same unit.
        head_pose: head pose relative to the camera, in the axes of the image. It is smoothed over
            time.
        eyes: the subject's right eye, then the left eye.
    """

    identity: int
    landmarks: NDArray[np.float32]
    head_pose: Gaze
    eyes: tuple[EyeResult, EyeResult]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serializable values; see `EyeResult.to_dict`."""
        return {
            "id": self.identity,
            "head_deg": _angles(self.head_pose),
            "eyes": [eye.to_dict() for eye in self.eyes],
        }

    @property
    def roll_deg(self) -> float:
        """Angle in degrees of the line between the eyes in the image; clockwise is positive."""
        return roll_of_eyes_deg(*(eye.outline.mean(axis=0) for eye in self.eyes))


@dataclass(frozen=True)
class FrameResult:
    """A redirected frame, and the results of its faces.

    Attributes:
        frame: redirected frame. `Redirector.process` returns a new [H, W, 3] uint8 RGB array.
        faces: results of the faces. If there are no faces, the frame is an unmodified copy.
        failure: error message. `None` means that there was no error. After an error, the frame is
            an unmodified copy.
        color: format of the frame.
    """

    frame: NDArray[np.uint8]
    faces: tuple[FaceResult, ...]
    failure: str | None = None
    color: Color = "rgb"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serializable values, without pixels."""
        return {"faces": [face.to_dict() for face in self.faces], "failure": self.failure}

    def mask(self) -> NDArray[np.bool_]:
        """Return a [H, W] bool mask that is true where a pixel may have changed.

        All other pixels are bit-identical to the input.
        """
        mask = np.zeros(size_of(self.frame, self.color), np.bool_)
        for face in self.faces:
            for eye in face.eyes:
                if eye.region is not None and eye.mask is not None:
                    mask[eye.region.slices] |= eye.mask > 0
        return mask


class FrameProcess(Protocol):
    """Function that accepts a frame and returns its result.

    The function is `Redirector.process` or a wrapper around this method.
    """

    def __call__(
        self, frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> FrameResult: ...


class PassThroughOnError:
    """Frame process that returns the input frame unmodified if the redirection fails.

    `MggrError` is still raised, because the user can correct its cause.

    Args:
        process: frame process whose errors are handled.
        notify: function that receives a message at the first failure of each exception type.
    """

    def __init__(self, process: FrameProcess, *, notify: Callable[[str], None]) -> None:
        self._process, self._notify = process, notify
        self._failures: Counter[str] = Counter()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Redirect a frame, or return a copy of it after an error."""
        try:
            return self._process(frame, time_s=time_s)
        except MggrError:
            raise
        except Exception as error:  # noqa: BLE001 - an error must not end a video call
            kind, failure = type(error).__name__, f"{type(error).__name__}: {error}"
        self._failures[kind] += 1
        if self._failures[kind] == 1:
            self._notify(f"a frame was left unmodified because of an error: {failure}")
        return FrameResult(frame.copy(), (), failure=failure)

    @property
    def failed(self) -> int:
        """Number of frames that were left unmodified because of errors so far."""
        return sum(self._failures.values())


View = Callable[[NDArray[np.uint8], FrameResult], NDArray[np.uint8]]
"""Type of a function (input frame, its result) -> [H, W, 3] uint8 RGB frame to show."""


class Annotated:
    """Frame process that replaces the frame of each result by a drawing of the result (a view).

    Args:
        process: frame process whose results are drawn.
        view: function that draws a result.
    """

    def __init__(self, process: FrameProcess, view: View) -> None:
        self._process, self._view = process, view

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Process a frame, and return its result; the view replaces the frame of the result."""
        result = self._process(frame, time_s=time_s)
        return replace(result, frame=self._view(frame, result))


def side_by_side(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Return a frame of twice the width: the input frame on the left, the result on the right."""
    return np.concatenate([before, result.frame], axis=1)
