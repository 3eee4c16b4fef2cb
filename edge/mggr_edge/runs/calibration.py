"""Calibration: the person looks into the lens and turns the head slowly for five seconds.

The true gaze of every frame is then (0, 0), so every frame shows the estimator's error at one head
pose. `profile.fit_correction` fits a correction to these frames.
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
"""Minimum number of frames with open eyes. In five seconds this is six frames per second; a slower
device needs more time."""

PATIENCE_S = 20.0
_SETTLE_S = 0.4
"""Seconds at the start that are not used, because the eyes still move when the key is pressed."""

_MOST_VIDEO_S = 60.0
"""Maximum number of seconds of a video that are used."""

MOST_SPREAD_DEG = 6.0
"""Maximum median distance of the frames from the fit, in degrees. With gazes at the lens at five
head yaws from -30 to 30 degrees, it is at most 5.3 degrees for each of 27 people (Columbia
0001-0027)."""

WANTED_PITCH_DEG, WANTED_YAW_DEG = 15.0, 30.0
"""Range of head poses in degrees, from one side to the other, that counts as a full turn. With the
noise of a packaged estimator (2.5 degrees), two thirds of a slope are determined by the frames of a
turn of 30 degrees. The pitch range is smaller, because a head nods less than it turns while the
eyes stay on the lens."""

_DETERMINED = 0.5
"""Minimum fraction of the slope that head turns determine; below it, the correction is nearly
constant."""


@dataclass(frozen=True)
class LookProgress:
    """Progress of a running calibration.

    Attributes:
        seconds_left: minimum remaining time in seconds; a slow device needs longer.
        share: completed fraction of the time and of the frames, whichever is less, in [0, 1].
        frames: number of frames with open eyes.
        covered: range of head poses so far as a fraction of a full turn, in [0, 1], for pitch and
            yaw.
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
        before_deg: mean error of the frames without correction, in degrees.
        after_deg: mean error with correction, in degrees, cross-validated: each block of time is
            corrected by a fit to the other blocks.
        notes: advice for a better calibration.
    """

    profile: Profile
    before_deg: float
    after_deg: float
    notes: tuple[str, ...] = ()


class LensLook:
    """Frames of one gaze at the lens, collected for a calibration.

    Args:
        duration_s: duration of the gaze in seconds; None uses all frames.
        settle_s: duration in seconds after the first frame during which frames are not used.
    """

    def __init__(self, *, duration_s: float | None, settle_s: float = 0.0) -> None:
        self._duration_s, self._settle_s = duration_s, settle_s
        self._heads_deg: list[tuple[float, float]] = []
        self._gazes_deg: list[tuple[float, float]] = []
        self._begun_s: float | None = None
        self._past_s = 0.0
        self._seen = 0

    def take(self, result: FrameResult, time_s: float) -> bool:
        """Add a frame whose gaze was estimated without correction; return True when complete.

        Frames with closed or hidden eyes have no gaze estimate and are skipped.

        Args:
            result: result of the frame.
            time_s: time of the frame in seconds; increases from call to call.

        Raises:
            StreamError: after `PATIENCE_S`, fewer than `FEWEST_FRAMES` frames show open eyes.
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
        """Fit the correction of a bundle's estimator to the frames.

        Raises:
            StreamError: too few frames show open eyes.
            UsageError: the spread of the estimates is too large for a steady gaze at the lens.
        """
        if len(self._gazes_deg) < FEWEST_FRAMES:
            self._refuse_few()
        fit = fit_correction(self._heads_deg, self._gazes_deg)
        if fit.spread_deg > MOST_SPREAD_DEG:
            raise UsageError(
                f"the estimated gazes differ by {fit.spread_deg:.1f} degrees from a steady gaze "
                f"(median; at most {MOST_SPREAD_DEG:g} are accepted); keep your eyes on the lens, "
                "in even light, and calibrate again",
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
        ask: shows `INSTRUCTION`, and returns when the person is ready.
        show: receives the progress after each frame.
        notify: receives a message with the mode of the camera.

    Raises:
        StreamError: the camera is lost, or too few frames show open eyes.
        UsageError: the spread of the estimates is too large for a steady gaze at the lens.
    """
    source = OpenedByReader(partial(open_capture, address, camera_format, notify=notify))
    with LatestFrameReader(source, stop=threading.Event()) as newest:
        flip = camera_format.flip
        frames = (LiveFrame(flipped(frame.rgb, flip), frame.time_s) for frame in iter(newest))
        if next(frames, None) is None:  # Do not prompt the user if the camera delivers no frame.
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
    """Calibrate with a video file of a gaze at the lens; at most the first minute is used.

    Args:
        path: path of the video file.
        bundle: bundle whose estimator is calibrated.
        progress: shows the number of processed frames.

    Raises:
        StreamError: the file cannot be read, or too few frames show open eyes.
        UsageError: the spread of the estimates is too large for a steady gaze at the lens.
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
    """Return the estimated (pitch, yaw) in degrees, in the axes of the head; None without one."""
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
        f"the head turned by only {high - low:.0f} degrees, so the correction is nearly constant; "
        f"to correct a turned head as well, calibrate again and turn the head by about "
        f"{WANTED_YAW_DEG / 2:g} degrees to each side",
    )
