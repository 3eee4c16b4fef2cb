"""Measure the output of the device pipeline: changed pixels, and the gaze of redirected eyes.

Two models measure the gaze of the redirected eyes. The first model is the run's own estimator. This
estimator was part of a loss in the training. The estimator may therefore measure the target gaze
although the eye is redirected badly. The measurements of the estimator alone prove little. The
second model is MediaPipe's iris model, which the training did not use. The iris model measures how
far the redirection moved the iris. The geometry of the gazemap converts this shift to degrees. In
this geometry, the iris centre is at `d (sin yaw cos pitch, -sin pitch)` from the eyeball centre,
for the distance `d` between both centres.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import EyeCrop, crop_patch
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.conventions import Conventions
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.vision.iris import Eye, IrisFinder

_PROBE_DEG = 20.0


@dataclass(frozen=True)
class Line:
    """Straight line that is fitted to measured angles as a function of the target angles.

    Attributes:
        slope: Change of the measured angle per degree of the target angle. The ideal value is 1.
            With a slope of 0, the gaze does not follow the target.
        offset_deg: Value of the line at target angle 0, in degrees.
        correlation: Correlation of the measured angles with the target angles, in [-1, 1]. The
            correlation is 0 if the measured angle is constant.
    """

    slope: float
    offset_deg: float
    correlation: float


@dataclass(frozen=True)
class Following:
    """Comparison of the redirected gaze with the target. One model measures the gaze.

    Attributes:
        yaw, pitch: Fitted line of each axis.
        mean_error_deg: Mean angle between the measured gaze and the target, in degrees.
    """

    yaw: Line
    pitch: Line
    mean_error_deg: float


def fit_line(asked_deg: ArrayLike, seen_deg: ArrayLike) -> Line:
    """Fit a least-squares line to the measured angles as a function of the target angles.

    Args:
        asked_deg: [N] target angles in degrees.
        seen_deg: [N] measured angles in degrees.

    Raises:
        ValueError: If the lengths differ, or if there are fewer than two points. Also raised if all
            target angles are equal.

    Example:
        >>> fit_line([-10.0, 0.0, 10.0], [-4.0, 1.0, 6.0])
        Line(slope=0.5, offset_deg=1.0, correlation=1.0)
    """
    asked, seen = np.asarray(asked_deg, np.float64), np.asarray(seen_deg, np.float64)
    if asked.shape != seen.shape or asked.ndim != 1 or len(asked) < 2:
        raise ValueError(f"expected two lists of equal length, got {asked.shape} and {seen.shape}")
    from_mean, seen_from_mean = asked - asked.mean(), seen - seen.mean()
    spread, seen_spread = float(from_mean @ from_mean), float(seen_from_mean @ seen_from_mean)
    if spread == 0:
        raise ValueError("a line needs two different angles, but all target angles are equal")
    together = float(from_mean @ seen_from_mean)
    slope = together / spread
    correlation = together / float(np.sqrt(spread * seen_spread)) if seen_spread else 0.0
    return Line(slope, float(seen.mean() - slope * asked.mean()), correlation)


def following(asked: Sequence[Gaze], seen: Sequence[Gaze]) -> Following:
    """Compare the gazes that one model measured with the targets."""
    asked_deg = np.stack([gaze.array() for gaze in asked]).astype(np.float64)
    seen_deg = np.stack([gaze.array() for gaze in seen]).astype(np.float64)
    return Following(
        pitch=fit_line(asked_deg[:, 0], seen_deg[:, 0]),
        yaw=fit_line(asked_deg[:, 1], seen_deg[:, 1]),
        mean_error_deg=float(np.mean([a.angle_to(s) for a, s in zip(asked, seen, strict=True)])),
    )


def gaze_of_iris_shift(shift_px: ArrayLike, conventions: Conventions) -> Gaze:
    """Convert the shift of an iris to a gaze. The shift starts at the position for gaze (0, 0).

    Args:
        shift_px: [2] shift (x, y) in pixels of the eye patch. Positive x is right, and positive y
            is down.
        conventions: Conventions of the gazemap.
    """
    x, y = np.asarray(shift_px, np.float64) / _iris_distance_px(conventions)
    pitch = np.arcsin(np.clip(-y, -1.0, 1.0))
    yaw = np.arcsin(np.clip(x / max(np.cos(pitch), 1e-6), -1.0, 1.0))
    return Gaze(float(np.degrees(pitch)), float(np.degrees(yaw)))


def _iris_distance_px(conventions: Conventions) -> float:
    """Return the distance `d` in pixels between the centres of the iris and the eyeball.

    The distance is measured in a rendered gazemap.
    """
    iris: NDArray[np.float32] = draw_gazemap(
        [0.0, _PROBE_DEG],
        size_px=conventions.patch_size,
        k=conventions.gazemap_k,
        edge_px=conventions.gazemap_edge_px,
    )[..., 0]
    middle = (conventions.patch_size - 1) / 2
    x = float((iris.sum(axis=0) @ np.arange(conventions.patch_size)) / iris.sum()) - middle
    return x / float(np.sin(np.radians(_PROBE_DEG)))


_WAY = (
    # seconds, pitch, yaw
    (0.0, 0.0, -15.0),
    (0.3, 0.0, -15.0),
    (3.2, 0.0, 15.0),
    (4.0, 10.0, 0.0),
    (6.0, -10.0, 0.0),
    (6.6, 0.0, 0.0),
    (8.0, 0.0, 0.0),
)
"""Path of the target.

First, yaw changes from -15 to 15 degrees at pitch 0. Then pitch changes from 10 to -10 degrees at
yaw 0. At the end, the target is the camera.
"""

REST_FROM_S = 6.6
"""Time in seconds after which the target is the camera."""


def target_at(time_s: float) -> Gaze:
    """Return the target at the given time in seconds.

    The function interpolates linearly between the points of the path. After the last point, the
    target is constant.

    Example:
        >>> target_at(0.0)
        Gaze(pitch_deg=0.0, yaw_deg=-15.0)
    """
    times, pitches, yaws = zip(*_WAY, strict=True)
    return Gaze(float(np.interp(time_s, times, pitches)), float(np.interp(time_s, times, yaws)))


Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Sight:
    """Measurements of one frame.

    Attributes:
        time_s: Time of the frame in seconds.
        target: Target gaze of the right eye.
        before: Gaze that the pipeline estimated for the original right eye.
        estimated: Mean gaze of both redirected eyes. The estimator of the bundle `measuring` of
            `Observer` measures this gaze.
        by_iris: Mean gaze of both redirected eyes, computed from the shift of the irises. The
            computation assumes that the original eyes look into the lens.
        strengths: Redirection strength of the right eye and of the left eye, in [0, 1].
        seconds: Processing time of the pipeline for the frame, in seconds.
    """

    time_s: float
    target: Gaze
    before: Gaze
    estimated: Gaze
    by_iris: Gaze
    strengths: tuple[float, float]
    seconds: float


class Observer:
    """Frame processor that changes the target over time and records measurements.

    The interface is the same as that of `Redirector.process`.

    Args:
        bundle: Bundle that redirects the gaze.
        measuring: Bundle whose estimator measures the gaze of the redirected eyes.
        show: Callback for every frame. It receives the frame before redirection, the frame after
            redirection, and the time in seconds.

    Attributes:
        sights: Measurements, one for each frame in which the pipeline estimated the gaze.
        frames: Number of processed frames.
        stray_pixels: Total number of changed pixels outside the eye masks, over all frames.
    """

    def __init__(
        self, bundle: Bundle, *, measuring: Bundle, show: Callable[[Picture, Picture, float], None]
    ) -> None:
        self._redirector = Redirector(bundle, max_faces=1)
        self._measuring, self._show = measuring, show
        self._iris = IrisFinder(bundle.model("iris"))
        self.sights: list[Sight] = []
        self.frames = 0
        self.stray_pixels = 0

    def __call__(self, frame: Picture, /, *, time_s: float | None = None) -> FrameResult:
        """Redirect one frame of a video."""
        assert time_s is not None, "the portrait is a video"
        self._redirector.target = target_at(time_s)
        started = time.perf_counter()
        result = self._redirector.process(frame, time_s=time_s)
        seconds = time.perf_counter() - started
        self.frames += 1
        changed = (frame != result.frame).any(axis=-1)
        self.stray_pixels += int((changed & ~result.mask()).sum())
        if result.faces and result.faces[0].eyes[0].gaze_before is not None:
            self.sights.append(self._sight(frame, result, time_s=time_s, seconds=seconds))
        self._show(frame, result.frame, time_s)
        return result

    def _sight(
        self, frame: Picture, result: FrameResult, *, time_s: float, seconds: float
    ) -> Sight:
        face = result.faces[0]
        right, left = face.eyes
        assert right.gaze_before is not None
        return Sight(
            time_s=time_s,
            target=right.gaze_target,
            before=right.gaze_before,
            estimated=_mean([self._estimate(result.frame, face, eye) for eye in face.eyes]),
            by_iris=_mean([self._by_iris(frame, result.frame, eye) for eye in face.eyes]),
            strengths=(right.strength, left.strength),
            seconds=seconds,
        )

    def _estimate(self, frame: Picture, face: FaceResult, eye: EyeResult) -> Gaze:
        crop = self._crop(eye)
        seen = self._measuring.estimate_gaze(
            crop_patch(frame, crop),
            side=eye.side,
            head_pose=face.head_pose.rolled(crop.roll_deg),
        )
        return seen.rolled(-crop.roll_deg)

    def _by_iris(self, before: Picture, after: Picture, eye: EyeResult) -> Gaze:
        crop = self._crop(eye)
        eye_from_frame = crop.eye_from_frame()
        corners = _known(eye).corners
        was, is_now = (
            np.asarray(self._iris.find(frame, side=eye.side, corners=corners).iris_centre)
            for frame in (before, after)
        )
        return gaze_of_iris_shift(
            eye_from_frame[:, :2] @ (is_now - was), self._measuring.contract.conventions
        ).rolled(-crop.roll_deg)

    def _crop(self, eye: EyeResult) -> EyeCrop:
        """Return the same square crop that the network processed."""
        return _known(eye).crop(self._measuring.contract.conventions)


def _known(eye: EyeResult) -> Eye:
    """Return the eye that the pipeline found.

    The values of the iris are NaN, because they are not used.
    """
    return Eye(eye.side, eye.outline, iris_centre=(np.nan, np.nan), iris_radius_px=np.nan)


def _mean(gazes: list[Gaze]) -> Gaze:
    return Gaze.from_array(np.mean([gaze.array() for gaze in gazes], axis=0))
