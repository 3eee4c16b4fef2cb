"""Calibration on the page of the studio, with frames of a person who looks into the lens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mggr_edge.errors import MggrError, UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs import calibration as calibrating
from mggr_edge.runs.calibration import Calibration, LensLook, LookProgress
from mggr_edge.runs.profile import Profile, write_profile

SETTLE_S = 1.5
"""Time in seconds that the eyes need to move from the button on the page to the lens."""


@dataclass(frozen=True)
class CalibrationState:
    """State of the calibration, which the page shows.

    Attributes:
        running: True while frames are collected.
        seconds_left: minimum remaining time of the running calibration, in seconds.
        share: completed fraction of the running calibration, in [0, 1].
        covered: (pitch, yaw) range of the head poses so far. Each value is a fraction of a full
            turn, in [0, 1].
        failure: reason why the last calibration failed; `None` if it did not fail.
        notes: advice on how to improve the next calibration.
        error_deg: (error before correction, error after correction) of the last calibration. Both
            are mean gaze errors in degrees. The error after correction is cross-validated. `None`
            before the first calibration of this session.
        path: path of the profile to write; `None` if calibration is not possible with this source.
        offset_deg: (pitch, yaw) offset in degrees that is subtracted from the estimates. This
            offset applies to the mean head pose of the calibration. `None` if no profile is used.
    """

    running: bool = False
    seconds_left: float = 0.0
    share: float = 0.0
    covered: tuple[float, float] = (0.0, 0.0)
    failure: str | None = None
    notes: tuple[str, ...] = ()
    error_deg: tuple[float, float] | None = None
    path: str | None = None
    offset_deg: tuple[float, float] | None = None

    def facts(self) -> dict[str, Any]:
        """Return the state as JSON-serializable values."""
        return asdict(self)


class PageCalibration:
    """Calibration with the frames of a running session.

    Args:
        bundle: bundle whose estimator is calibrated.
        path: path of the profile. An existing file is replaced. `None` if the source is not a
            camera; calibration is then not possible.
        profile: profile that is used before the first calibration; `None` for no profile.
        found: function that receives a new profile.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        path: Path | None,
        profile: Profile | None,
        found: Callable[[Profile], None],
    ) -> None:
        self._bundle, self._path, self._profile, self._found = bundle, path, profile, found
        self._lock = threading.Lock()
        self._running: tuple[LensLook, Redirector] | None = None
        self._progress: LookProgress | None = None
        self._last: Calibration | None = None
        self._failure: str | None = None

    def begin(self) -> None:
        """Start a calibration. If a calibration is running, restart it.

        Raises:
            UsageError: the source is not a camera.
        """
        if self._path is None:
            raise UsageError(
                "calibration needs a camera with a person in front of it, not a file",
                code="calibration-without-camera",
            )
        look = LensLook(duration_s=calibrating.DURATION_S, settle_s=SETTLE_S)
        seeing = Redirector(self._bundle, strength=0.0, max_faces=1)
        with self._lock:
            self._running, self._progress = (look, seeing), look.progress()
            self._failure = None

    @property
    def redirector(self) -> Redirector | None:
        """Redirector that estimates gazes during a calibration; `None` if none is running."""
        running = self._running
        return None if running is None else running[1]

    def see(self, result: FrameResult, time_s: float, *, by: Redirector) -> None:
        """Add a frame to the calibration.

        Args:
            result: result of the frame.
            time_s: time of the frame in seconds.
            by: redirector that processed the frame. If the running calibration uses another
                redirector, the frame is ignored.
        """
        with self._lock:
            running = self._running
        if running is None or running[1] is not by:
            return
        look, _ = running
        calibration, failure = None, None
        try:
            is_complete = look.take(result, time_s)
            with self._lock:
                self._progress = look.progress()
            if is_complete:
                calibration = look.calibration(self._bundle)
        except MggrError as error:
            failure = str(error)
        if calibration is not None or failure is not None:
            self._finish(running, calibration, failure)

    def _finish(
        self,
        running: tuple[LensLook, Redirector],
        calibration: Calibration | None,
        failure: str | None,
    ) -> None:
        """If the calibration was not restarted, end the calibration and write its profile."""
        with self._lock:
            if self._running is not running:
                return
            self._running, self._failure = None, failure
            if calibration is None or self._path is None:
                return
            try:
                write_profile(self._path, calibration.profile, force=True)
            except MggrError as error:
                self._failure = str(error)
                return
            self._last, self._profile = calibration, calibration.profile
        self._found(calibration.profile)

    def state(self) -> CalibrationState:
        """Return the state of the calibration."""
        with self._lock:
            running, last, profile = self._running, self._last, self._profile
            progress = None if running is None else self._progress
            return CalibrationState(
                running=progress is not None,
                seconds_left=0.0 if progress is None else round(progress.seconds_left, 1),
                share=0.0 if progress is None else progress.share,
                covered=(0.0, 0.0) if progress is None else progress.covered,
                failure=self._failure,
                notes=() if last is None else last.notes,
                error_deg=None if last is None else (last.before_deg, last.after_deg),
                path=None if self._path is None else str(self._path),
                offset_deg=None if profile is None else profile.correction.offset_deg,
            )
