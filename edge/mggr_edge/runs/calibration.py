"""Calibrate with frames of a person who looks into the lens and slowly turns the head.

The true gaze in these frames is (0, 0). Therefore the estimated gaze of a frame is the error of the
estimator at the head pose of this frame. `profile.fit_correction` fits a correction to these
errors.
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
from mggr_edge.media.live.address import CameraFormat, LiveAddress, flipped
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
"""Minimum number of frames with open eyes. A device that processes six frames per second collects
these frames in five seconds. A slower device needs more time."""

PATIENCE_S = 20.0
_SETTLE_S = 0.4
"""Time in seconds at the start of a calibration. Frames in this time are not used, because the eyes
still move after the key press."""

_MOST_VIDEO_S = 60.0
"""Only this number of seconds is used, from the start of a video."""

MOST_SPREAD_DEG = 6.0
"""Maximum accepted median distance between the estimates and the fitted correction, in degrees. In
the Columbia Gaze Data Set, subjects 0001-0027 look into the lens at five head yaws from -30 to 30
degrees. For each of these 27 subjects, the median distance is at most 5.3 degrees."""

WANTED_PITCH_DEG, WANTED_YAW_DEG = 15.0, 30.0
"""Range of head poses that counts as a full turn, from one side to the other, in degrees. The
packaged estimator has a noise of 2.5 degrees. With this noise, a turn of 30 degrees determines two
thirds of the slope. (The slope is the change of the gaze error per degree of head pose.) The pitch
range is smaller than the yaw range, because people nod less than they turn the head."""

_DETERMINED = 0.5
"""Minimum fraction of the slope that the head turns must determine. If the fraction is smaller, the
correction hardly depends on the head pose, and the calibration gives advice."""


@dataclass(frozen=True)
class LookProgress:
    """Progress of a running calibration.

    Attributes:
        seconds_left: minimum remaining time in seconds. A slow device needs longer.
        share: completed fraction of the calibration, in [0, 1]: the smaller of the fraction of the
            duration and the fraction of the frames.
        frames: number of frames with open eyes.
        covered: (pitch, yaw) range of the head poses so far. Each value is a fraction of a full
            turn, in [0, 1].
    """

    seconds_left: float
    share: float
    frames: int
    covered: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration.

    Attributes:
        profile: profile to write.
        before_deg: mean gaze error without correction, in degrees.
        after_deg: mean gaze error with correction, in degrees. The error is cross-validated: each
            block of frames is corrected by a fit to the other blocks.
        notes: advice for a better calibration.
    """

    profile: Profile
    before_deg: float
    after_deg: float
    notes: tuple[str, ...] = ()


class LensLook:
    """Collector of frames in which a person looks into the lens, for one calibration.

    Args:
        duration_s: duration of the calibration in seconds; `None` uses all frames.
        settle_s: duration in seconds at the start. Frames in this period are not used.
    """

    def __init__(self, *, duration_s: float | None, settle_s: float = 0.0) -> None:
        self._duration_s, self._settle_s = duration_s, settle_s
        self._heads_deg: list[tuple[float, float]] = []
        self._gazes_deg: list[tuple[float, float]] = []
        self._begun_s: float | None = None
        self._past_s = 0.0
        self._seen = 0

    def take(self, result: FrameResult, time_s: float) -> bool:
        """Add a frame, and return whether the calibration has enough frames.

        Frames with closed or hidden eyes have no gaze estimate, so they are skipped.

        Args:
            result: result of the frame, with gazes that were estimated without correction.
            time_s: time of the frame in seconds. The time must increase from call to call.

        Raises:
            StreamError: fewer than `FEWEST_FRAMES` frames show open eyes after `PATIENCE_S`
                seconds.
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
        """Return the progress of the calibration."""
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
        """Fit a correction for the estimator of a bundle to the frames.

        Raises:
            StreamError: too few frames show open eyes.
            UsageError: the estimated gazes differ so much that the person cannot have looked into
                the lens all the time.
        """
        if len(self._gazes_deg) < FEWEST_FRAMES:
            self._refuse_few()
        fit = fit_correction(self._heads_deg, self._gazes_deg)
        if fit.spread_deg > MOST_SPREAD_DEG:
            raise UsageError(
                "the estimated gazes scatter too much: their median distance from the fitted "
                f"correction is {fit.spread_deg:.1f} degrees, at most {MOST_SPREAD_DEG:g} degrees "
                "are accepted; look into the lens all the time, in even light, and calibrate again",
                code="gaze-not-steady",
                spread_deg=fit.spread_deg,
                limit_deg=MOST_SPREAD_DEG,
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
            f"{FEWEST_FRAMES} are needed; sit in front of the camera, in good light, and "
            "calibrate again",
            code="too-few-open-eyes",
            found=len(self._gazes_deg),
            frames=self._seen,
            needed=FEWEST_FRAMES,
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
    """Calibrate with a camera.

    Args:
        address: address of the camera.
        bundle: bundle whose estimator is calibrated.
        camera_format: size, rate and orientation of the camera's frames.
        ask: function that shows `INSTRUCTION` and returns when the person is ready.
        show: function that receives the progress after each frame.
        notify: function that receives a message with the mode of the camera.

    Raises:
        StreamError: the camera is lost, or too few frames show open eyes.
        UsageError: the estimated gazes differ so much that the person cannot have looked into the
            lens all the time.
    """
    source = OpenedByReader(partial(open_capture, address, camera_format, notify=notify))
    with LatestFrameReader(source, stop=threading.Event()) as newest:
        flip = camera_format.flip
        frames = (LiveFrame(flipped(frame.rgb, flip), frame.time_s) for frame in iter(newest))
        if next(frames, None) is None:  # check this before the prompt
            raise StreamError(
                f"{address} ended before its first frame",
                code="source-without-frames",
                address=str(address),
            )
        redirector = Redirector(bundle, strength=0.0, max_faces=1)
        ask()
        look = LensLook(duration_s=DURATION_S, settle_s=_SETTLE_S)
        for frame in frames:
            result = redirector.process(frame.rgb, time_s=frame.time_s)
            is_complete = look.take(result, frame.time_s)
            show(look.progress())
            if is_complete:
                return look.calibration(bundle)
    raise StreamError(
        f"{address} ended after {look.progress().frames} frames with open eyes, before the "
        "calibration was complete; calibrate again",
        code="calibration-cut-short",
        address=str(address),
        frames=look.progress().frames,
    )


def calibrate_by_video(
    path: Path, bundle: Bundle, *, progress: Progress = no_progress
) -> Calibration:
    """Calibrate with a video file of a person who looks into the lens.

    Only the first minute is used.

    Args:
        path: path of the video file.
        bundle: bundle whose estimator is calibrated.
        progress: function that shows the number of processed frames.

    Raises:
        StreamError: the file cannot be read, or too few frames show open eyes.
        UsageError: the estimated gazes differ so much that the person cannot have looked into the
            lens all the time.
        MissingPackageError: PyAV is not installed.
    """
    redirector = Redirector(bundle, strength=0.0, max_faces=1)
    look = LensLook(duration_s=None)
    begins_s: float | None = None
    with (
        open_video(path) as video,
        progress(f"calibrating with {path.name}", video.layout.frames) as advance,
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
    """Return the estimated (pitch, yaw) in degrees, in the axes of the head.

    If there is no estimate, the result is `None`.
    """
    gaze = next((eye.gaze_before for eye in face.eyes if eye.gaze_before is not None), None)
    if gaze is None:
        return None
    rolled = gaze.rolled(face.roll_deg)
    return rolled.pitch_deg, rolled.yaw_deg


def _notes(fit: CorrectionFit) -> tuple[str, ...]:
    """Return advice for a better calibration."""
    _, by_yaw = fit.determined
    if by_yaw >= _DETERMINED:
        return ()
    low, high = fit.correction.head_yaw_deg
    return (
        f"the head turned by only {high - low:.0f} degrees, so all head poses get nearly the same "
        f"correction; to improve the correction of turned heads, calibrate again and turn the head "
        f"by about {WANTED_YAW_DEG / 2:g} degrees to each side",
    )
