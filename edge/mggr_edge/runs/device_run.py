"""`mggr-edge run`: what its options ask for, put together."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.addresses import (
    file_to_write,
    input_address,
    output_address,
    redact_credentials,
)
from mggr_edge.common.progress import Progress
from mggr_edge.common.timing import StageClock, Stages
from mggr_edge.errors import UsageError
from mggr_edge.media.files.paths import NOWHERE
from mggr_edge.media.files.video_writer import ESTIMATED, REDIRECTED
from mggr_edge.media.live.address import LiveAddress, live_address
from mggr_edge.media.live.csi import ANY_FORMAT, CameraFormat
from mggr_edge.media.live.file_playback import shown_file
from mggr_edge.media.live.sinks import is_shown, is_window, live_output
from mggr_edge.media.live.v4l2 import KEYS, Controls
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import bundle_path
from mggr_edge.pipeline.drawing import mark, overlay
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection
from mggr_edge.pipeline.lens_looks import AutoCalibration
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import Annotated, FrameProcess, FrameResult, side_by_side
from mggr_edge.pipeline.targets import (
    CAMERA,
    FixedTarget,
    Glances,
    TargetSource,
    parse_target,
    read_target_track,
)
from mggr_edge.pipeline.wrappers import PassThroughOnError, Targeted
from mggr_edge.runs.console import AdjustableStrength, PeriodicStats, StatusLine
from mggr_edge.runs.file_run import run
from mggr_edge.runs.live_run import run_live
from mggr_edge.runs.profile import NO_PROFILE, chosen_profile, read_profile
from mggr_edge.runs.service.supervisor import DEFAULT_SERVICE, ServiceOptions, ServiceSupervisor
from mggr_edge.runs.summary import RunSummary, open_metrics


class _CommonArguments(TypedDict):
    """What files and live sources are run with alike."""

    process: FrameProcess
    columns: int
    stages: Stages


@dataclass(frozen=True)
class DeviceRun:
    """The options of `mggr-edge run`; its help says what they mean.

    Raises:
        UsageError: options that exclude each other.
    """

    model: str = "default"
    target: str = "camera"
    follow: str | None = None
    look_away: bool = False
    strength: float = 1.0
    max_faces: int = 4
    estimate_only: bool = False
    mark: bool = False
    overlay: bool = False
    compare: bool = False
    metrics: str | None = None
    stats: bool = False
    stats_every_s: float | None = None
    headless: bool = False
    profile: str | None = None
    auto_calibrate: bool = False
    force: bool = False
    loops: int = 0
    segment_minutes: float | None = None
    service: ServiceOptions = DEFAULT_SERVICE
    wanted: CameraFormat = ANY_FORMAT

    def __post_init__(self) -> None:
        if self.follow is not None and (self.look_away or parse_target(self.target) != CAMERA):
            raise UsageError("--follow says where eyes look; leave out --target and --look-away")
        if self.estimate_only and self._asks_for_change:
            raise UsageError(
                "--estimate-only changes nothing; leave out --target, --follow, --look-away, "
                "--strength, --mark and --compare"
            )

    def __call__(
        self,
        source: str,
        output: str | None,
        *,
        progress: Progress,
        notify: Callable[[str], None],
    ) -> RunSummary:
        """Runs from a source to an output.

        Raises:
            MggrError: see `run.run`, `Bundle.open`, `read_target_track` and `open_metrics`.
        """
        # Mistakes first: models take a moment to load.
        if (output is None and self._shows_nothing) or (is_window(output) and self.headless):
            output = NOWHERE
        address, named = live_address(source), redact_credentials(source)
        if address is None and self.wanted != ANY_FORMAT:
            raise UsageError(f"{named} is no camera; leave out --input-...")
        if address is not None and self.loops:
            raise UsageError(f"{named} is no file; leave out --input-loop")
        if address is None and self.service.reconnect:
            raise UsageError(f"{named} is a file, which is not lost; leave out --reconnect")
        if address is None and self.service.prometheus_port is not None:
            raise UsageError(f"{named} is a file; figures for Prometheus are of live sources")
        if address is None and is_shown(output):
            address = shown_file(source, loops=self.loops)
        if address is None and self.segment_minutes is not None:
            raise UsageError(f"{named} is a file; --segment is for recordings of live sources")
        self._check_metrics_apart(source, output)
        comment = ESTIMATED if self._changes_nothing else REDIRECTED
        controls = self._controls()
        live = (
            live_output(
                output,
                comment=comment,
                force=self.force,
                segment_s=None if self.segment_minutes is None else 60 * self.segment_minutes,
                controls=controls,
            )
            if address
            else None
        )
        aim = self._aim()
        clock = StageClock()
        bundle = Bundle.open(self.model)
        if live:
            # Errors and loading times belong here, not into the frame loop.
            bundle.try_out(coarse=self.service.step_down)
        redirector = Redirector(
            bundle,
            correction=self._correction(address, bundle, notify=notify),
            strength=controls.strength,
            max_faces=self.max_faces,
            stages=clock,
        )
        careful = PassThroughOnError(Targeted(redirector, aim), notify=notify)
        # A film that fails is done again; a call is not.
        plain: FrameProcess = careful if live else Targeted(redirector, aim)
        refining = (
            AutoCalibration(plain, redirector, notify=notify) if self.auto_calibrate else None
        )
        plain = refining or plain
        attendance = (
            self._attendance(address, redirector, clock, refining, notify) if live else None
        )
        if is_window(output):
            if not self.estimate_only:  # which changes nothing, whatever is pressed
                plain = AdjustableStrength(plain, redirector, controls)
            notify(KEYS)
        if self.stats_every_s is not None:
            plain = PeriodicStats(
                plain,
                lambda: _stats(clock, refining),
                every_s=self.stats_every_s,
                notify=notify,
            )
        with (
            attendance.around(plain) if attendance else nullcontext(plain) as attended,
            self._measured(attended, refining) as process,
        ):
            how: _CommonArguments = {
                "process": self._viewed(process, controls, is_live=live is not None),
                "columns": 2 if self.compare else 1,
                "stages": clock,
            }
            if address is not None and live is not None and attendance is not None:
                summary = run_live(
                    address,
                    live,
                    wanted=self.wanted,
                    stop=controls.stop,
                    reconnect=self.service.reconnect,
                    workload=attendance.workload,
                    counts=attendance.counts,
                    notify=notify,
                    **how,
                )
                if careful.failed:
                    note = f"{careful.failed} frames passed through as they came, after errors"
                    summary = replace(summary, notes=(*summary.notes, note))
            else:
                summary = run(
                    source,
                    output,
                    comment=comment,
                    force=self.force,
                    loops=self.loops,
                    progress=progress,
                    reset=lambda: _reset(redirector, refining),
                    **how,
                )
        if self.stats or self.stats_every_s is not None:
            notify(_stats(clock, refining))
        if refining is not None:
            summary = replace(summary, notes=(*summary.notes, refining.in_words()))
        return summary

    @property
    def _asks_for_change(self) -> bool:
        aimed = self.follow is not None or self.look_away or parse_target(self.target) != CAMERA
        return aimed or self.strength != 1.0 or self.mark or self.compare

    @property
    def _changes_nothing(self) -> bool:
        return self.estimate_only or self.strength == 0.0

    @property
    def _shows_nothing(self) -> bool:
        """No pixel can change, so nothing is written where no output is named."""
        return self.estimate_only and not self.overlay

    def _aim(self) -> TargetSource:
        if self.follow is not None:
            return read_target_track(self.follow)
        target = parse_target(self.target)
        return Glances(target) if self.look_away else FixedTarget(target)

    def _check_metrics_apart(self, source: str, output: str | None) -> None:
        """Nobody's film is to become lines of JSON."""
        if self.metrics is None:
            return
        file_to_write("--metrics", self.metrics)
        addresses = [input_address(source)]
        addresses += [] if output is None else [output_address(output)]
        others = [address.place for address in addresses if address.scheme == "file"]
        others += [text for text in (self.follow, self.model) if text]
        # Not Path.resolve, which raises on a link to itself.
        if os.path.realpath(self.metrics) in [os.path.realpath(other) for other in others]:
            raise UsageError(f"--metrics {self.metrics} is another file of this run; name its own")

    def _measured(
        self, process: FrameProcess, refining: AutoCalibration | None
    ) -> AbstractContextManager[FrameProcess]:
        if self.metrics is None:
            return nullcontext(process)
        more = None if refining is None else lambda: {"auto_calibration": refining.facts()}
        return open_metrics(Path(self.metrics), process, force=self.force, more=more)

    def _correction(
        self, address: LiveAddress | None, bundle: Bundle, *, notify: Callable[[str], None]
    ) -> GazeCorrection:
        """The correction of the named profile, or with a camera of this machine the user's."""
        own_camera = address is not None and address.is_own_camera
        path = chosen_profile(self.profile, own_camera=own_camera)
        if path is None:
            return NO_CORRECTION
        if self.profile is None:
            notify(f"with the profile {path}; --profile {NO_PROFILE} leaves it out")
        return read_profile(path, bundle.contract).correction

    def _attendance(
        self,
        address: LiveAddress | None,
        redirector: Redirector,
        clock: StageClock,
        refining: AutoCalibration | None,
        notify: Callable[[str], None],
    ) -> ServiceSupervisor:
        return ServiceSupervisor(
            self.service,
            redirector,
            bundle_path(self.model),
            correction_of=lambda new: self._correction(address, new, notify=notify),
            clock=clock,
            notify=notify,
            auto_calibration=refining,
        )

    def _controls(self) -> Controls:
        return Controls(strength=0.0 if self.estimate_only else self.strength, overlay=self.overlay)

    def _viewed(self, process: FrameProcess, controls: Controls, *, is_live: bool) -> FrameProcess:
        if self.mark:
            process = Annotated(process, mark)
        status = StatusLine(controls.in_words)

        def drawn(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
            if not controls.overlay:
                return result.frame
            shown = replace(result, frame=overlay(before, result))
            return status(before, shown) if is_live else shown.frame

        if self.overlay or is_live:  # a window's keys turn it on and off
            process = Annotated(process, drawn)
        return Annotated(process, side_by_side) if self.compare else process


def _reset(redirector: Redirector, refining: AutoCalibration | None) -> None:
    """Before another video."""
    redirector.reset()
    if refining is not None:
        refining.reset()


def _stats(clock: StageClock, refining: AutoCalibration | None) -> str:
    """Time per stage, and the state of the auto-calibration."""
    return clock.table() if refining is None else f"{clock.table()}\n{refining.in_words()}"
