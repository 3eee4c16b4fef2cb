"""The device pipeline under observation: what it does to each frame, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import EyeCrop, crop_of_eye, crop_patch
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.vision.iris import Eye, IrisFinder
from mggr_export.quickstart.following import gaze_of_iris_shift
from mggr_export.quickstart.sweep import target_at

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Sight:
    """What was seen of one frame.

    Attributes:
        time_s: of the frame.
        target: where the eyes were to look.
        before: the gaze that the pipeline took the untouched eyes to have.
        estimated: of the redirected eyes, by the bundle's estimator.
        by_iris: of the redirected eyes, by how far the iris has moved; it takes
            the untouched eyes to look into the lens.
        strengths: of the right and the left eye, in [0, 1].
        seconds: that the pipeline took for the frame.
    """

    time_s: float
    target: Gaze
    before: Gaze
    estimated: Gaze
    by_iris: Gaze
    strengths: tuple[float, float]
    seconds: float


class Observer:
    """Behaves like `Redirector.process`, sweeps the target, and keeps what it sees.

    Args:
        bundle: what redirects.
        witness: whose estimator looks at the redirected eyes.
        show: is given every frame before, after, and its time.

    Attributes:
        sights: one for each frame in which the eyes were looked at.
        frames: how many there were.
        stray_pixels: pixels outside the eyes' masks that changed, over all of them.
    """

    def __init__(
        self, bundle: Bundle, *, witness: Bundle, show: Callable[[Picture, Picture, float], None]
    ) -> None:
        self._redirector = Redirector(bundle, max_faces=1)
        self._witness, self._show = witness, show
        self._iris = IrisFinder(bundle.model("iris"))
        self.sights: list[Sight] = []
        self.frames = 0
        self.stray_pixels = 0

    def __call__(self, frame: Picture, /, *, time_s: float | None = None) -> FrameResult:
        """Redirects one frame of a video."""
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
        seen = self._witness.estimate_gaze(
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
            eye_from_frame[:, :2] @ (is_now - was), self._witness.contract.conventions
        ).rolled(-crop.roll_deg)

    def _crop(self, eye: EyeResult) -> EyeCrop:
        """The very square that the network saw."""
        known, conventions = _known(eye), self._witness.contract.conventions
        return crop_of_eye(
            known.crop_outline,
            corners=known.crop_corners,
            side=eye.side,
            crop_factor=conventions.crop_factor,
            size_px=conventions.patch_size,
        )


def _known(eye: EyeResult) -> Eye:
    """The eye as it was found before; its iris plays no part."""
    return Eye(eye.side, eye.outline, iris_centre=(np.nan, np.nan), iris_radius_px=np.nan)


def _mean(gazes: list[Gaze]) -> Gaze:
    return Gaze.from_array(np.mean([gaze.array() for gaze in gazes], axis=0))
