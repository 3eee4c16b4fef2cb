"""Build the chain of frame processors of a run.

A frame processor is a function that receives a frame and returns its result. The order of the
processors is fixed. Each processor in this table calls the processor in the line above:

| processor | used | purpose |
|---|---|---|
| `Redirector` | always | redirects the eyes of a frame |
| `Targeted` | always | sets the target of the gaze at the time of the frame |
| `PassThroughOnError` | in live runs | returns a frame unmodified if an error occurs |
| `AutoCalibration` | with `--auto-calibrate` | refines the gaze correction |
| `AdjustableStrength` | with a window | sets the strength that the user chose with keys |
| `PeriodicStats` | with `--stats-every` | reports the time per stage |
| `BundleReloader` | in live runs | reloads the bundle if its files are replaced |
| `InTurn` | in a service with several cameras | waits until it is the turn of the camera |
| `CountedProcess` | with `--prometheus` | counts frames and eyes |
| `Metrics` | with `--metrics` | writes one line of JSON per frame |
| `Annotated`: mark | with `--mark` | draws the label 'gaze redirected' |
| `Annotated`: overlay, status | `--overlay`, live runs | draws eye outlines and the frame rate |
| `Annotated`: side by side | with `--compare` | puts the input beside the result |

The metrics are written before anything is drawn, so drawings do not change the metrics.
`BundleReloader` is outside of `PassThroughOnError`, so an error of a new bundle is not reported as
an error of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import StageClock
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.cameras import Controls
from mggr_edge.models.installed import bundle_path
from mggr_edge.pipeline.drawing import mark, overlay
from mggr_edge.pipeline.lens_looks import AutoCalibration
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import (
    Annotated,
    FrameProcess,
    FrameResult,
    PassThroughOnError,
    side_by_side,
)
from mggr_edge.pipeline.targets import TargetSource
from mggr_edge.runs.console import AdjustableStrength, PeriodicStats, StatusLine
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.service.supervisor import ALONE, Host, ServiceSupervisor
from mggr_edge.runs.summary import open_metrics


@dataclass(frozen=True)
class FrameChain:
    """Frame processors of one run.

    Attributes:
        process: outermost processor, which must be called with each frame.
        redirector: innermost processor.
        clock: clock that records the time of each stage.
        supervisor: services of a live run; `None` for files.
        pass_through: error handling of a live run, which counts the failed frames; `None` for
            files, because an error in a file ends the run.
        auto_calibration: automatic calibration; `None` if the options do not request it.
    """

    process: FrameProcess
    redirector: Redirector
    clock: StageClock
    supervisor: ServiceSupervisor | None
    pass_through: PassThroughOnError | None
    auto_calibration: AutoCalibration | None

    def reset(self) -> None:
        """Reset the tracked faces and the automatic calibration before the next video."""
        self.redirector.reset()
        if self.auto_calibration is not None:
            self.auto_calibration.reset()

    def stats(self) -> str:
        """Return the time per stage and the state of the automatic calibration, as text."""
        return _stats(self.clock, self.auto_calibration)

    def notes(self) -> tuple[str, ...]:
        """Return the notes to append to the summary of the run."""
        notes: list[str] = []
        if self.pass_through is not None and self.pass_through.failed:
            notes.append(f"frames left unmodified after errors: {self.pass_through.failed}")
        if self.auto_calibration is not None:
            notes.append(self.auto_calibration.in_words())
        return tuple(notes)


@contextmanager
def open_chain(
    options: RunOptions,
    redirector: Redirector,
    targets: TargetSource,
    *,
    address: LiveAddress | None,
    is_live: bool,
    in_window: bool,
    controls: Controls,
    clock: StageClock,
    notify: Callable[[str], None],
    host: Host = ALONE,
) -> Iterator[FrameChain]:
    """Build the chain around a redirector; the docstring of the module lists the processors.

    Args:
        options: options of the run.
        redirector: redirector, the innermost processor of the chain.
        targets: source of the target gaze. Its method `at` returns the target gaze at a given time.
        address: address of the live source. `None` if the input is a file.
        is_live: True if the frames arrive in real time. If the processing of a frame fails, a live
            run continues.
        in_window: True if a window shows the frames and the user changes the strength with its
            keys.
        controls: settings that the keys change.
        clock: clock that records the time of each stage.
        notify: function that receives messages.
        host: parts of a live run that the process provides.

    Raises:
        MissingPackageError: Prometheus metrics need a package that is not installed.
        StreamError: the port of the Prometheus metrics is in use.
        OutputExistsError: the metrics file exists, and the options do not include `force`.
        UsageError: the metrics file cannot be written.
    """
    process: FrameProcess = Targeted(redirector, targets)
    pass_through = PassThroughOnError(process, notify=notify) if is_live else None
    process = pass_through or process
    refining = None
    if options.auto_calibrate:
        process = refining = AutoCalibration(process, redirector, notify=notify)
    supervisor = None
    if is_live:
        supervisor = ServiceSupervisor(
            options.service,
            redirector,
            bundle_path(options.model),
            correction_of=lambda bundle: options.correction(address, bundle, notify=notify),
            clock=clock,
            notify=notify,
            auto_calibration=refining,
            host=host,
        )
    if in_window and not options.estimate_only:  # Keys have no effect with --estimate-only.
        process = AdjustableStrength(process, redirector, controls)
    if options.stats_every_s is not None:
        process = PeriodicStats(
            process, lambda: _stats(clock, refining), every_s=options.stats_every_s, notify=notify
        )
    with (
        supervisor.around(process) if supervisor else nullcontext(process) as supervised,
        _measured(supervised, options, refining) as measured,
    ):
        yield FrameChain(
            _annotated(measured, options, controls, is_live=is_live),
            redirector,
            clock,
            supervisor,
            pass_through,
            refining,
        )


class Targeted:
    """Frame process that sets the target of a redirector before each frame.

    Args:
        redirector: redirector that processes the frames.
        aim: targets over time. For an image without a time, the target at 0 s is used.
    """

    def __init__(self, redirector: Redirector, aim: TargetSource) -> None:
        self._redirector, self._aim = redirector, aim

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Redirect a frame to the target that is valid at the time of the frame."""
        self._redirector.target = self._aim.at(0.0 if time_s is None else time_s)
        return self._redirector.process(frame, time_s=time_s)


def _measured(
    process: FrameProcess, options: RunOptions, refining: AutoCalibration | None
) -> AbstractContextManager[FrameProcess]:
    if options.metrics is None:
        return nullcontext(process)
    more = None if refining is None else lambda: {"auto_calibration": refining.facts()}
    return open_metrics(Path(options.metrics), process, force=options.force, more=more)


def _annotated(
    process: FrameProcess, options: RunOptions, controls: Controls, *, is_live: bool
) -> FrameProcess:
    if options.mark:
        process = Annotated(process, mark)
    status = StatusLine(controls.in_words)

    def drawn(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
        if not controls.overlay:
            return result.frame
        shown = replace(result, frame=overlay(before, result))
        return status(before, shown) if is_live else shown.frame

    if options.overlay or is_live:  # a key turns the overlay on and off
        process = Annotated(process, drawn)
    return Annotated(process, side_by_side) if options.compare else process


def _stats(clock: StageClock, refining: AutoCalibration | None) -> str:
    return clock.table() if refining is None else f"{clock.table()}\n{refining.in_words()}"
