"""Measure how natural redirected videos look, on frames before they are encoded.

The following properties are measured:

- seams along the borders of the masks; see `seams`;
- jitter: movement of the irises of a still face with camera noise;
- blinks: distance between the lids, before and after redirection;
- pairs: whether both eyes of a face are redirected with the same strength, if both eyes are
  visible;
- stability: difference between consecutive frames after alignment; see `stability`;
- redirection: share of eyes with full strength, and the gaze that a judge estimates before and
  after redirection. Only eyes that should be redirected are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import crop_patch
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.vision.face_mesh import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from mggr_edge.vision.iris import Eye, IrisFinder
from mggr_tf.evaluation.seams import Seams
from mggr_tf.evaluation.stability import Stability, StabilityScores

Judge = Callable[[Sequence[NDArray[np.uint8]], Sequence[Side], Sequence[Gaze]], list[Gaze]]
"""Function that returns the gazes of eye patches.

The arguments are the patches, the side of each patch, and the head pose of each patch.

The judge is a gaze estimator that is not used for the redirection. The angles of a patch are in the
axes of the patch.
"""

FRONTAL_DEG = 15.0
NEAR_DEG = 20.0
OPEN = 0.2
"""Conditions for an eye that should be redirected at full strength. The first is the maximum
absolute pitch and yaw of the head. The second is the maximum angle between gaze and target. The
third is the minimum openness of the eye."""

NARROW = 0.6
"""Both eyes count as visible if the width of the narrower eye is at least this share of the width
of the other eye."""

APART = 0.2
"""Maximum difference between the strengths of the two eyes of a face. With a larger difference, the
eyes visibly look in different directions."""

_FULL = 0.999


@dataclass(frozen=True)
class Naturalness:
    """Measurements of one clip.

    A value is `None` if the clip contains nothing to measure it on.

    Attributes:
        frames: number of frames.
        eyes: number of changed eyes, added over all frames.
        changed_outside: number of changed pixels outside the masks of the eyes. It should be 0.
        border_gradient: 95th percentile of the gradient on the borders of the masks. This value is
            divided by the 95th percentile of the gradient at the same pixels of the input.
        pasted_gradient: same ratio for a control. In the control, the network's small square
            picture is enlarged and pasted with hard edges. The hard edges form a visible seam, so
            this ratio must be high.
        lids: number of closing eyes. An eye is closing if its openness is less than half of the
            median openness of the same eye in the clip.
        lids_kept: share of the closing eyes whose openness stays nearly the same. The openness may
            change by at most a tenth of the median.
        near: number of eyes that should be redirected at full strength. These are open eyes
            of faces with a frontal head pose, and with a gaze within 20 degrees of the target.
        near_fully: share of the eyes counted in `near` that have full strength, or that already
            look at the target.
        pairs: number of faces with two visible eyes, added over all frames (see `shows_both_eyes`).
        pairs_apart: share of the faces counted in `pairs` whose two strengths differ by more than
            `APART`.
        judge_before_deg: mean angle in degrees between the target and the judge's estimate for the
            input. Only eyes that should be redirected at full strength are used.
        judge_after_deg: same as `judge_before_deg`, but for the redirected frames.
        stability: temporal stability; see `stability.StabilityScores`.
    """

    frames: int
    eyes: int
    changed_outside: int
    border_gradient: float | None
    pasted_gradient: float | None
    lids: int
    lids_kept: float | None
    near: int
    near_fully: float | None
    pairs: int
    pairs_apart: float | None
    judge_before_deg: float | None
    judge_after_deg: float | None
    stability: StabilityScores

    def as_json(self) -> dict[str, Any]:
        """Return all measurements as JSON types."""
        return asdict(self)


def watch(
    frames: Iterable[tuple[NDArray[np.uint8], float | None]],
    bundle: Bundle,
    *,
    target: Gaze,
    judge: Judge | None = None,
    observe: Callable[[FrameResult, float | None], None] | None = None,
) -> Naturalness:
    """Redirect a clip and measure its naturalness.

    Args:
        frames: frames [H, W, 3] uint8 RGB with their times in seconds. The time of a single picture
            is `None`.
        bundle: networks that redirect the eyes.
        target: gaze of the redirected eyes.
        judge: gaze estimator that measures the eyes that should be redirected at full strength.
            `None` skips this measurement.
        observe: function that is called for each frame, in order. The arguments are the result and
            the time of the frame.
    """
    redirector, meter = Redirector(bundle, target=target), _Meter(bundle, judge)
    for frame, time_s in frames:
        result = redirector.process(frame, time_s=time_s)
        if observe is not None:
            observe(result, time_s)
        meter.add(frame, result)
    return meter.naturalness()


class _Meter:
    """Measures the frames of one clip.

    Args:
        bundle: networks that redirect the eyes.
        judge: gaze estimator that measures the eyes that should be redirected at full strength, or
            `None`.
    """

    def __init__(self, bundle: Bundle, judge: Judge | None) -> None:
        self._bundle, self._judge = bundle, judge
        self._finder = IrisFinder(bundle.model("iris"))
        self._frames = self._eyes = self._outside = 0
        self._seams, self._stability = Seams(bundle), Stability()
        self._openness: dict[tuple[int, Side], list[tuple[float, float]]] = {}
        self._fully: list[bool] = []
        self._apart: list[bool] = []
        self._judged: list[tuple[float, float]] = []

    def add(self, frame: NDArray[np.uint8], result: FrameResult) -> None:
        """Measure a frame. `frame` is the input of the redirector."""
        self._frames += 1
        self._stability.add(frame, result)
        self._outside += int((frame != result.frame).any(-1)[~result.mask()].sum())
        for face in result.faces:
            self._add_face(frame, result, face)

    def naturalness(self) -> Naturalness:
        """Return the measurements of all frames."""
        lids = [kept for own in self._openness.values() for kept in _lids_kept(np.array(own))]
        before, after = np.mean(self._judged, axis=0) if self._judged else (None, None)
        return Naturalness(
            frames=self._frames,
            eyes=self._eyes,
            changed_outside=self._outside,
            border_gradient=self._seams.border_gradient,
            pasted_gradient=self._seams.pasted_gradient,
            lids=len(lids),
            lids_kept=_share(lids),
            near=len(self._fully),
            near_fully=_share(self._fully),
            pairs=len(self._apart),
            pairs_apart=_share(self._apart),
            judge_before_deg=None if before is None else float(before),
            judge_after_deg=None if after is None else float(after),
            stability=self._stability.scores(),
        )

    def _add_face(self, frame: NDArray[np.uint8], result: FrameResult, face: FaceResult) -> None:
        near: list[tuple[Eye, EyeResult]] = []
        seen: list[Eye] = []
        for eye, corners in _eyes(face):
            before = self._finder.find(frame, side=eye.side, corners=corners)
            after = self._finder.find(result.frame, side=eye.side, corners=corners)
            seen.append(before)
            own = self._openness.setdefault((face.identity, eye.side), [])
            own.append((before.openness, after.openness))
            if eye.region is not None and eye.mask is not None and eye.mask.any():
                self._eyes += 1
                self._seams.add(frame, result, eye, face)
            if should_be_redirected(eye, face, before):
                self._fully.append(eye.strength >= _FULL or eye.reason == "on target")
                near.append((before, eye))
        right, left = face.eyes
        if shows_both_eyes(face, seen):
            self._apart.append(abs(right.strength - left.strength) > APART)
        if self._judge is not None and near:
            self._ask(self._judge, frame, result, face, near)

    def _ask(
        self,
        judge: Judge,
        frame: NDArray[np.uint8],
        result: FrameResult,
        face: FaceResult,
        near: list[tuple[Eye, EyeResult]],
    ) -> None:
        sides = [eye.side for _, eye in near]
        crops = [before.crop(self._bundle.contract.conventions) for before, _ in near]
        heads = [face.head_pose.rolled(crop.roll_deg) for crop in crops]
        targets = [
            eye.gaze_target.rolled(crop.roll_deg)
            for (_, eye), crop in zip(near, crops, strict=True)
        ]
        angles = []
        for picture in (frame, result.frame):
            seen = judge([crop_patch(picture, crop) for crop in crops], sides, heads)
            angles.append([gaze.angle_to(to) for gaze, to in zip(seen, targets, strict=True)])
        self._judged += list(zip(*angles, strict=True))


def jitter(
    picture: NDArray[np.uint8],
    bundle: Bundle,
    *,
    target: Gaze,
    frames: int = 60,
    noise: float = 2.0,
    rate: float = 30.0,
) -> tuple[float, float]:
    """Measure the jitter of irises on a still face with simulated camera noise.

    Args:
        picture: [H, W, 3] uint8 RGB with at least one face.
        bundle: networks that redirect the eyes.
        target: gaze of the redirected eyes.
        frames: number of noisy copies of the picture. The first third of the copies is not
            measured, because the filters over time need some frames to settle.
        noise: standard deviation of the camera noise in grey levels.
        rate: number of frames per second.

    Returns:
        (input, output). Both values are the root mean square distance of the irises from their mean
        position. The unit is the width of the eye. The iris model measures the positions in the
        noisy input and in the output.

    Raises:
        ValueError: there are no eyes with full strength. This error is also raised if the eyes with
            full strength are not the same in all measured frames.
    """
    redirector, finder = Redirector(bundle, target=target), IrisFinder(bundle.model("iris"))
    rng = np.random.default_rng(0)
    places: list[NDArray[np.float64]] = []
    for number in range(frames):
        noisy = picture + rng.normal(0, noise, picture.shape)
        frame = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        result = redirector.process(frame, time_s=number / rate)
        if number < frames // 3:
            continue
        eyes = []
        for face in result.faces:
            for eye, corners in _eyes(face):
                if eye.strength < _FULL:
                    continue
                pair = [
                    finder.find(f, side=eye.side, corners=corners) for f in (frame, result.frame)
                ]
                eyes.append([np.divide(one.iris_centre, pair[0].width_px) for one in pair])
        places.append(np.array(eyes, np.float64))
    if not places or not places[0].size or len({p.shape for p in places}) > 1:
        raise ValueError("the eyes redirected at full strength are not the same in every frame")
    found = np.stack(places)  # [frames, eyes, 2, (x, y)]
    off = np.linalg.norm(found - found.mean(axis=0), axis=-1)
    before, after = np.sqrt((off**2).mean(axis=(0, 1)))
    return float(before), float(after)


def should_be_redirected(eye: EyeResult, face: FaceResult, seen: Eye) -> bool:
    """Return whether an eye should be redirected at full strength.

    There are three conditions: the eye is open, the head is frontal, and the gaze is within 20
    degrees of the target.

    Args:
        eye: result of the eye.
        face: face of the eye.
        seen: eye that the iris model found in the input frame.
    """
    head = face.head_pose
    return (
        eye.gaze_before is not None
        and seen.openness >= OPEN
        and max(abs(head.pitch_deg), abs(head.yaw_deg)) <= FRONTAL_DEG
        and eye.gaze_before.angle_to(eye.gaze_target) <= NEAR_DEG
    )


def shows_both_eyes(face: FaceResult, seen: Sequence[Eye]) -> bool:
    """Return whether both eyes of a face are visible.

    The yaw of the head must be small, and both eyes must be open. Neither eye may be much narrower
    than the other eye.

    Args:
        face: face of the eyes.
        seen: both eyes that the iris model found in the input frame.
    """
    widths = [eye.width_px for eye in seen]
    return (
        abs(face.head_pose.yaw_deg) <= FRONTAL_DEG
        and min(widths) >= NARROW * max(widths)
        and min(eye.openness for eye in seen) >= OPEN
    )


def _lids_kept(openness: NDArray[np.float64]) -> list[bool]:
    """Return whether redirection keeps the openness of an eye.

    The list has one entry for each frame in which the eye is closing.

    Args:
        openness: [N, 2] openness of the eye in N frames, before and after redirection.
    """
    usual = float(np.median(openness[:, 0]))
    down = openness[openness[:, 0] < 0.5 * usual]
    return [bool(abs(after - before) <= 0.1 * usual) for before, after in down]


def _eyes(face: FaceResult) -> list[tuple[EyeResult, NDArray[np.float32]]]:
    """Return each eye of a face with its two corners.

    The corners come from the face mesh. The corners are [2, 2] in frame pixels.
    """
    corners = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
    return [
        (eye, face.landmarks[list(where), :2])
        for eye, where in zip(face.eyes, corners, strict=True)
    ]


def _share(kept: list[bool]) -> float | None:
    return float(np.mean(kept)) if kept else None
