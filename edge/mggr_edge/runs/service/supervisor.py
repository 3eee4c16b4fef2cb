"""All that attends to a live picture which is left switched on, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from mggr_edge.common.timing import StageClock
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.gaze_correction import GazeCorrection
from mggr_edge.pipeline.lens_looks import AutoCalibration
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameProcess
from mggr_edge.runs.service.hot_reload import Replacing
from mggr_edge.runs.service.load_shedding import HOT_C, Pressure, Workload, hottest_c
from mggr_edge.runs.service.prometheus import open_endpoint
from mggr_edge.runs.service.systemd import Counts


@dataclass(frozen=True)
class ServiceOptions:
    """What is asked for.

    Attributes:
        reconnect: wait for a source that is lost or not yet there.
        step_down: do less when there is too much to do, or the machine is hot.
        hot_c: from which temperature on it is hot.
        prometheus_port: where figures are served; None serves none.
    """

    reconnect: bool = False
    step_down: bool = True
    hot_c: float = HOT_C
    prometheus_port: int | None = None


AS_USUAL = ServiceOptions()


@dataclass
class Attendance:
    """Attends to one redirector.

    Attributes:
        options: what is asked for.
        redirector: works less, or with another bundle.
        path: where that lies, and may be replaced.
        correction_of: correction of a new bundle's estimates; raises where it cannot be used.
        clock: of its stages.
        say: takes what happens.
        counts: of the source.
        auto_calibration: refines the redirector's correction; None if nothing does.
    """

    options: ServiceOptions
    redirector: Redirector
    path: Path
    correction_of: Callable[[Bundle], GazeCorrection]
    clock: StageClock
    say: Callable[[str], None]
    counts: Counts = field(default_factory=Counts)
    auto_calibration: AutoCalibration | None = None

    def __post_init__(self) -> None:
        self._pressure = Pressure(
            has_coarse=lambda: self.redirector.has_coarse,
            temperature=hottest_c,
            say=self.say,
            hot_c=self.options.hot_c,
        )
        self.workload = Workload(self._pressure, self._set_fine) if self.options.step_down else None

    @contextmanager
    def around(self, process: FrameProcess) -> Iterator[FrameProcess]:
        """Gives what passes frames to `process`, with all that attends to it.

        Raises:
            MissingPackageError: figures shall be served, and their library is not installed.
            StreamError: their port is in use.
        """
        attended = Replacing(
            process,
            self.redirector,
            self.path,
            correction_of=self.correction_of,
            say=self.say,
            coarse=self.options.step_down,
        )
        with attended, self._figures(attended) as watched:
            yield watched

    def _figures(self, process: FrameProcess) -> AbstractContextManager[FrameProcess]:
        """Passes frames to `process`, and serves figures of them if a port was given."""
        if self.options.prometheus_port is None:
            return nullcontext(process)
        return open_endpoint(
            self.options.prometheus_port,
            process,
            counts=self.counts,
            clock=self.clock,
            level=lambda: self._pressure.level,
            auto_calibration=self.auto_calibration,
        )

    def _set_fine(self, fine: bool) -> None:
        self.redirector.fine = fine
