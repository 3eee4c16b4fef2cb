"""Calibration from the page: one look into the lens, from the frames that pass."""

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
"""Eyes that were on the button have reached the lens by then."""


@dataclass(frozen=True)
class CalibrationState:
    """State of the calibration, for the page.

    Attributes:
        running: whether frames are gathered now.
        seconds_left: of the look that is running, at least.
        share: in [0, 1], how much of it is done.
        covered: for pitch and yaw of the head, in [0, 1], the range of head poses so far as a
            share of a full turn.
        failure: why the last calibration failed.
        notes: how the next calibration would be better than the last one.
        error_deg: mean error (before, after) of the last calibration, cross-validated; None
            before the first one of this session.
        path: where the profile is written; None while nothing can be calibrated.
        offset_deg: (pitch, yaw) that is subtracted from estimates at the middle of the head poses
            seen; None without a profile.
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
        """As JSON takes it."""
        return asdict(self)


class PageCalibration:
    """Calibrates from the frames that pass, and writes the profile.

    Args:
        bundle: its estimator is calibrated.
        path: of the profile, replaced if it exists; None where nothing can be calibrated,
            because the source is no camera.
        profile: what is used until then.
        found: takes a new profile.
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
        """Gathers frames from now on; a calibration that is running starts again.

        Raises:
            UsageError: the source is no camera.
        """
        if self._path is None:
            raise UsageError("calibration needs a camera with a person in front of it, not a file")
        look = LensLook(duration_s=calibrating.DURATION_S, settle_s=SETTLE_S)
        seeing = Redirector(self._bundle, strength=0.0, max_faces=1)
        with self._lock:
            self._running, self._progress = (look, seeing), look.progress()
            self._failure = None

    @property
    def redirector(self) -> Redirector | None:
        """Estimates the gazes of frames while a calibration is running; None otherwise."""
        running = self._running
        return None if running is None else running[1]

    def see(self, result: FrameResult, time_s: float, *, by: Redirector) -> None:
        """Takes a frame that went through `redirector`.

        Args:
            result: of the frame.
            time_s: of the frame.
            by: what it went through; a calibration that was begun since then does not take it.
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
        """Ends a calibration, unless another one was begun meanwhile; writes its profile."""
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
        """How far it has come."""
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
