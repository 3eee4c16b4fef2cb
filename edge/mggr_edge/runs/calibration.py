"""Calibration: the person looks into the lens and turns the head slowly for five seconds.

The true gaze of every frame is then (0, 0), so every frame shows the estimator's error at one head
pose; `correction_fit` fits a correction to them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.files.video_reader import TimedFrame, open_video
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.csi import CameraFormat, flipped
from mggr_edge.media.live.latest_frame import LatestFrameReader, LiveFrame
from mggr_edge.media.live.sources import OpenedByReader, open_capture
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FaceResult, FrameResult
from mggr_edge.runs.profile import (
    CorrectionFit,
    Profile,
    cross_validated_deg,
    estimator_of,
    fit_correction,
    head_ranges_deg,
)

DURATION_S = 5.0
INSTRUCTION = "Look into the lens and turn your head slowly for five seconds"

FEWEST_FRAMES = 30
"""Frames with open eyes. Six in each second: a slower device looks for longer."""

PATIENCE_S = 20.0
_SETTLE_S = 0.4
"""Eyes still move when the key is pressed."""

_MOST_VIDEO_S = 60.0
"""A video is used up to this time."""

MOST_SPREAD_DEG = 6.0
"""Median distance of the frames from the fit. With looks into the lens at five head yaws from -30
to 30 degrees it is at most 5.3 degrees for every one of 27 people (Columbia 0001-0027)."""

WANTED_PITCH_DEG, WANTED_YAW_DEG = 15.0, 30.0
"""Range of head poses from one side to the other that counts as a full turn. With the noise of a
packaged estimator (2.5 degrees) two thirds of a slope come from the frames of a turn of 30 degrees;
a head nods less far than it turns while the eyes stay on the lens."""

_DETERMINED = 0.5
"""A correction that is less than half determined by head turns is nearly constant."""


@dataclass(frozen=True)
class LookProgress:
    """State of a running calibration.

    Attributes:
        seconds_left: at least; a slow device takes longer.
        share: in [0, 1], of time and frames.
        frames: number of frames with open eyes.
        covered: for pitch and yaw of the head, in [0, 1], the range of head poses seen so far as a
            share of a full turn.
    """

    seconds_left: float
    share: float
    frames: int
    covered: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration.

    Attributes:
        profile: to be written.
        before_deg: mean error of the frames without correction.
        after_deg: mean error with correction, where each block of time is corrected by a fit to
            the others.
        notes: how a further calibration would be better.
    """

    profile: Profile
    before_deg: float
    after_deg: float
    notes: tuple[str, ...] = ()


class LensLook:
    """Gathers frames of one look into the lens.

    Args:
        duration_s: length of the look; None for all frames that come.
        settle_s: frames of so long after the first one are not used.
    """

    def __init__(self, *, duration_s: float | None, settle_s: float = 0.0) -> None:
        self._duration_s, self._settle_s = duration_s, settle_s
        self._heads_deg: list[tuple[float, float]] = []
        self._gazes_deg: list[tuple[float, float]] = []
        self._begun_s: float | None = None
        self._past_s = 0.0
        self._seen = 0

    def take(self, result: FrameResult, time_s: float) -> bool:
        """Takes a frame whose gaze was estimated without correction; True once there are enough.

        Frames whose eyes are closed or hidden, which have no gaze, are left out.

        Args:
            result: of the frame.
            time_s: of the frame, going forward.

        Raises:
            StreamError: too few frames show open eyes for too long.
        """
        self._begun_s = time_s if self._begun_s is None else self._begun_s
        self._past_s = time_s - self._begun_s - self._settle_s
        if self._past_s >= 0:
            self._seen += 1
            self._keep(result)
        if self._duration_s is None or self._past_s < self._duration_s:
            return False
        if self._past_s > PATIENCE_S and len(self._gazes_deg) < FEWEST_FRAMES:
            self._refuse_few()
        return len(self._gazes_deg) >= FEWEST_FRAMES

    def progress(self) -> LookProgress:
        """How far it is."""
        count, duration_s = len(self._gazes_deg), self._duration_s or 0.0
        past_s = max(0.0, self._past_s)
        of_time = min(1.0, past_s / duration_s) if duration_s else 1.0
        covered = (0.0, 0.0)
        if count:
            pitch, yaw = head_ranges_deg(self._heads_deg)
            covered = (
                min(1.0, (pitch[1] - pitch[0]) / WANTED_PITCH_DEG),
                min(1.0, (yaw[1] - yaw[0]) / WANTED_YAW_DEG),
            )
        return LookProgress(
            seconds_left=max(0.0, duration_s - past_s),
            share=min(of_time, count / FEWEST_FRAMES),
            frames=count,
            covered=covered,
        )

    def calibration(self, bundle: Bundle) -> Calibration:
        """Fits the correction of a bundle's estimator to the frames.

        Raises:
            StreamError: too few frames show open eyes.
            UsageError: the estimates are too far from each other for a look into the lens.
        """
        if len(self._gazes_deg) < FEWEST_FRAMES:
            self._refuse_few()
        fit = fit_correction(self._heads_deg, self._gazes_deg)
        if fit.spread_deg > MOST_SPREAD_DEG:
            raise UsageError(
                f"the estimated gazes differ by {fit.spread_deg:.1f} degrees from a steady look "
                f"(median; at most {MOST_SPREAD_DEG:g} are accepted); keep your eyes on the lens, "
                "in even light, and calibrate again"
            )
        before_deg, after_deg = cross_validated_deg(self._heads_deg, self._gazes_deg)
        profile = Profile(
            estimator_of(bundle.contract),
            fit.correction.rounded(),
            len(self._gazes_deg),
            spread_deg=round(fit.spread_deg, 2),
        )
        return Calibration(profile, before_deg, after_deg, _notes(fit))

    def _keep(self, result: FrameResult) -> None:
        gaze = _gaze_deg(result.faces[0]) if result.faces else None
        if gaze is not None:
            head = result.faces[0].head_pose.rolled(result.faces[0].roll_deg)
            self._heads_deg.append((head.pitch_deg, head.yaw_deg))
            self._gazes_deg.append(gaze)

    def _refuse_few(self) -> None:
        raise StreamError(
            f"only {len(self._gazes_deg)} of {self._seen} frames show open eyes, at least "
            f"{FEWEST_FRAMES} are needed; sit in front of the camera, in the light"
        )


def calibrate(
    address: LiveAddress,
    bundle: Bundle,
    *,
    camera_format: CameraFormat,
    ask: Callable[[], None],
    show: Callable[[LookProgress], None] = lambda progress: None,
    notify: Callable[[str], None] = lambda text: None,
) -> Calibration:
    """Calibrates before a camera.

    Args:
        address: of the camera.
        bundle: its estimator is calibrated.
        camera_format: size and rate of the camera's frames, and how they are turned.
        ask: shows `INSTRUCTION`, and returns when the person is ready.
        show: called after each frame.
        notify: takes the mode of the camera.

    Raises:
        StreamError: the camera is lost, or too few frames show open eyes.
        UsageError: the estimates are too far from each other for a look into the lens.
    """
    source = OpenedByReader(partial(open_capture, address, camera_format, notify=notify))
    with LatestFrameReader(source, stop=threading.Event()) as newest:
        flip = camera_format.flip
        frames = (LiveFrame(flipped(frame.rgb, flip), frame.time_s) for frame in iter(newest))
        if next(frames, None) is None:  # Nobody is asked to look at a camera that gives nothing.
            raise StreamError(f"{address} ended before its first frame")
        redirector = Redirector(bundle, strength=0.0, max_faces=1)
        ask()
        look = LensLook(duration_s=DURATION_S, settle_s=_SETTLE_S)
        for frame in frames:
            result = redirector.process(frame.rgb, time_s=frame.time_s)
            is_complete = look.take(result, frame.time_s)
            show(look.progress())
            if is_complete:
                return look.calibration(bundle)
    raise StreamError(f"{address} ended after {look.progress().frames} frames with open eyes")


def calibrate_by_video(
    path: Path, bundle: Bundle, *, progress: Progress = no_progress
) -> Calibration:
    """Calibrates by a video file of such a look; its first minute is used.

    Args:
        path: the video file.
        bundle: its estimator is calibrated.
        progress: shown the frames that are done.

    Raises:
        StreamError: it cannot be read, or too few frames show open eyes.
        UsageError: the estimates are too far from each other for a look into the lens.
        MissingPackageError: PyAV is not installed.
    """
    redirector = Redirector(bundle, strength=0.0, max_faces=1)
    look = LensLook(duration_s=None)
    begins_s: float | None = None
    with (
        open_video(path) as video,
        progress(f"calibrating by {path.name}", video.layout.frames) as advance,
    ):
        for item in video.items:
            if not isinstance(item, TimedFrame):
                continue
            begins_s = item.time_s if begins_s is None else begins_s
            time_s = item.time_s - begins_s
            if time_s > _MOST_VIDEO_S:
                break
            look.take(redirector.process(item.rgb, time_s=time_s), time_s)
            advance()
    return look.calibration(bundle)


def _gaze_deg(face: FaceResult) -> tuple[float, float] | None:
    """The estimated gaze in the head's axes."""
    gaze = next((eye.gaze_before for eye in face.eyes if eye.gaze_before is not None), None)
    if gaze is None:
        return None
    rolled = gaze.rolled(face.roll_deg)
    return rolled.pitch_deg, rolled.yaw_deg


def _notes(fit: CorrectionFit) -> tuple[str, ...]:
    """What to improve."""
    _, by_yaw = fit.determined
    if by_yaw >= _DETERMINED:
        return ()
    low, high = fit.correction.head_yaw_deg
    return (
        f"the head turned by only {high - low:.0f} degrees, so the correction is nearly constant; "
        f"for one that fits a turned head, calibrate again and turn the head by about "
        f"{WANTED_YAW_DEG / 2:g} degrees to each side",
    )
