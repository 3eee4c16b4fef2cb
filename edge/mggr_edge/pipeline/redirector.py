"""Redirect the eyes in the frames of one video or in single images.

The redirector does no I/O and reads no clock. The caller passes the time of each frame. The module
`face_redirection` contains the processing of one face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.common.timing import FrameClock, Stages, no_stages
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.face_redirection import FaceRedirection
from mggr_edge.pipeline.frame_formats import Color, check_frame, rgb_of, write_pixels
from mggr_edge.pipeline.gating import Limits
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.pipeline.targets import CAMERA
from mggr_edge.pipeline.tracks import FaceTracker, FaceTracks
from mggr_edge.vision.face_finder import FaceFinder


class Redirector:
    """Redirect the eyes in the frames of one video to a target.

    Threads: a redirector tracks the faces of one video, so two threads must not call it at the same
    time. The calling thread need not be the thread that created the redirector. Use one redirector
    for each video. Redirectors that run in parallel need one `Bundle.session()` each. If they share
    a bundle, their calls run one after another.

    Args:
        bundle: networks, landmark models and their conventions.
        target: target direction of the eyes, in the axes of the image. It may be changed between
            frames.
        strength: fraction of the full redirection to apply, in [0, 1]. It may be changed between
            frames. At 0, gazes are estimated, but no pixel is changed.
        limits: thresholds that determine which eyes are redirected. With `None`, the default
            thresholds are used.
        max_faces: maximum number of faces per frame. If there are more faces, those with the
            highest confidence are used.
        stages: function that measures the time of each stage.
        correction: correction of each gaze estimate. It may be changed between frames.

    Attributes:
        fine: whether the fine branch of the network is applied. It may be changed between frames.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        target: Gaze = CAMERA,
        strength: float = 1.0,
        limits: Limits | None = None,
        max_faces: int = 4,
        stages: Stages = no_stages,
        correction: GazeCorrection = NO_CORRECTION,
    ) -> None:
        self.target = target
        self.fine = True
        self.strength = strength
        self._limits = limits or Limits()
        self._max_faces = max_faces
        self._stages = stages
        self._tracks, self._clock = FaceTracks(), FrameClock()
        self._shape: tuple[int, ...] | None = None
        self.take(bundle, correction)

    @property
    def strength(self) -> float:
        """Fraction of the full redirection to apply, in [0, 1]."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a strength lies in [0, 1], got {value}")
        self._strength = value

    @property
    def has_coarse(self) -> bool:
        """True if the bundle can run without the fine branch of the network.

        The coarse model is loaded if necessary.
        """
        return self._bundle.coarse is not None

    @property
    def bundle(self) -> Bundle:
        """Bundle that is currently used."""
        return self._bundle

    def take(self, bundle: Bundle, correction: GazeCorrection = NO_CORRECTION) -> None:
        """Switch to another bundle.

        Faces keep their numbers. The old bundle is not closed.

        Args:
            bundle: bundle whose networks are used from now on.
            correction: correction of the gaze estimates of this bundle.
        """
        self._bundle, self.correction = bundle, correction
        self._finder = FaceFinder(
            detector=bundle.model("face_detector"),
            mesh=bundle.model("face_mesh"),
            iris=bundle.model("iris"),
        )
        self._watcher = FaceTracker(self._finder)

    def reset(self) -> None:
        """Drop all tracked faces; call this method before each further video."""
        self._tracks, self._clock = FaceTracks(), FrameClock()
        self._look_anew(None)

    def _look_anew(self, shape: tuple[int, ...] | None) -> None:
        """Drop the positions of all faces, for example if a video changes its frame size."""
        self._watcher, self._shape = FaceTracker(self._finder), shape
        self._tracks.forget()

    def _rising(self, time_s: float) -> float:
        """Convert a frame time for the tracker, the tracks and the filters; see `FrameClock`."""
        if not np.isfinite(time_s):
            raise ValueError(f"time_s is a finite number of seconds or None, got {time_s}")
        if self._clock.goes_back_far(time_s):
            self._look_anew(None)
            self._tracks.restart()
            self._clock = FrameClock()
        return self._clock(time_s)

    def redirect_image(
        self,
        frame: NDArray[np.uint8],
        *,
        color: Color = "rgb",
        out: NDArray[np.uint8] | None = None,
        landmarks: Sequence[ArrayLike] | None = None,
    ) -> FrameResult:
        """Redirect all eyes of a single image. Nothing is tracked or smoothed.

        Args:
            frame: image of the host program. It is not modified, unless it is also passed as `out`.
            color: format of the frame; see `frame_formats`.
            out: array for the result, with the shape of `frame`. It may be a strided view, and it
                may be `frame` itself. With `None`, a new array is created.
            landmarks: landmarks of the faces, if the host program has already found them. For each
                face, [468, 3] or [478, 3] points of MediaPipe's face mesh: x and y in pixels, and
                the depth z at the same scale. With `None`, faces are detected. The irises are
                always found with the iris model.

        Returns:
            The result. Its `frame` is `out`, or the new array.

        Raises:
            ValueError: an array has another shape or dtype, or contains values that are not finite.
        """
        return self._redirect(frame, None, color=color, out=out, landmarks=landmarks)

    def redirect_frame(
        self,
        frame: NDArray[np.uint8],
        time_s: float,
        *,
        color: Color = "rgb",
        out: NDArray[np.uint8] | None = None,
        landmarks: Sequence[ArrayLike] | None = None,
    ) -> FrameResult:
        """Redirect all eyes of a video frame.

        Faces are tracked, and geometry and gaze are smoothed over time.

        Args:
            frame: see `redirect_image`.
            time_s: time of the frame in its video, in seconds. Times may repeat or decrease a
                little. If the time decreases by more than half a second, the frame counts as the
                first frame of another video.
            color: see `redirect_image`.
            out: see `redirect_image`.
            landmarks: see `redirect_image`.

        Raises:
            ValueError: an array has another shape or dtype, or a number is not finite.
        """
        return self._redirect(frame, time_s, color=color, out=out, landmarks=landmarks)

    def process(self, frame: NDArray[np.uint8], *, time_s: float | None = None) -> FrameResult:
        """Redirect an RGB frame of a video, or with `time_s=None`, a single RGB image."""
        return self._redirect(frame, time_s)

    def _redirect(
        self,
        frame: NDArray[np.uint8],
        time_s: float | None,
        *,
        color: Color = "rgb",
        out: NDArray[np.uint8] | None = None,
        landmarks: Sequence[ArrayLike] | None = None,
    ) -> FrameResult:
        check_frame(frame, color)
        if out is not None and (out.shape != frame.shape or out.dtype != np.uint8):
            raise ValueError(f"out is {out.dtype} {list(out.shape)}, expected {list(frame.shape)}")
        rgb = rgb_of(frame, color)
        result = self._redirect_rgb(rgb, time_s, landmarks)
        if color == "rgb" and out is None:
            return result
        out = frame.copy() if out is None else out
        if out is not frame:
            np.copyto(out, frame)
        for eye in (eye for face in result.faces for eye in face.eyes):
            if eye.region is not None and eye.mask is not None:
                write_pixels(out, result.frame, eye.mask, region=eye.region, color=color)
        return replace(result, frame=out, color=color)

    def _redirect_rgb(
        self,
        frame: NDArray[np.uint8],
        time_s: float | None,
        landmarks: Sequence[ArrayLike] | None,
    ) -> FrameResult:
        """Redirect a contiguous RGB frame into a new array."""
        if time_s is not None:
            time_s = self._rising(time_s)
            if frame.shape != self._shape:
                self._look_anew(frame.shape)
        with self._stages("find faces"):
            if landmarks is not None:
                found = self._finder.with_landmarks(frame, landmarks)
            elif time_s is None:
                found = self._finder.find(frame, max_faces=self._max_faces)
            else:
                found = self._watcher.find(frame, time_s, max_faces=self._max_faces)
        tracks = (
            FaceTracks().follow(found, 0.0)
            if time_s is None
            else self._tracks.follow(found, time_s)
        )
        redirect_face = FaceRedirection(
            self._bundle,
            target=self.target,
            strength=self._strength,
            fine=self.fine,
            limits=self._limits,
            correction=self.correction,
            stages=self._stages,
        )
        out = frame.copy()
        faces = tuple(
            redirect_face(frame, out, face, track)
            for face, track in zip(found, tracks, strict=True)
        )
        return FrameResult(out, faces)
