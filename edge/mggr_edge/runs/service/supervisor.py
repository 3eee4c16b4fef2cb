"""Services of unattended live runs: options and systemd notifications.

Messages to systemd are sent to a Unix socket. The environment variable `NOTIFY_SOCKET` contains the
path of this socket. If the variable is not set, as in a terminal, no message is sent.

References:
    sd_notify(3), systemd.service(5): `Type=notify`, `WatchdogSec=`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mggr_edge.common.timing import StageClock
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.gaze_correction import GazeCorrection
from mggr_edge.pipeline.lens_looks import AutoCalibration
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameProcess
from mggr_edge.runs.service.fair_turns import InTurn, Turn
from mggr_edge.runs.service.hot_reload import BundleReloader
from mggr_edge.runs.service.load_shedding import (
    HOT_C,
    FrameSkipper,
    LoadController,
    Pressure,
    hottest_c,
)
from mggr_edge.runs.service.metrics import LiveCounts, MetricsServer, open_endpoint
from mggr_edge.runs.service.shared_load import SharedLoad

_KICKS_PER_LIMIT = 3
_MICROSECONDS = 1e6


class Systemd:
    """Sender of notifications to systemd. If this process runs without systemd, nothing is sent.

    Args:
        environment: environment variables. `NOTIFY_SOCKET` is the address of the socket.
            `WATCHDOG_USEC` is the watchdog timeout in microseconds, if there is a watchdog.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        limit_s = _seconds(environment.get("WATCHDOG_USEC"))
        self._kick_s = None if limit_s is None else limit_s / _KICKS_PER_LIMIT
        self._kicked_s = -float("inf")

    def ready(self) -> None:
        """Report that the service has started. The models must be loaded at this time."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """Report the current activity as one line of text."""
        self._tell(f"STATUS={' '.join(text.split())}")

    def alive(self) -> None:
        """Report to the watchdog that the service is alive.

        This method may be called at any rate. It sends at most three messages per watchdog timeout.
        """
        now = time.monotonic()
        if self._kick_s is not None and now - self._kicked_s >= self._kick_s:
            self._kicked_s = now
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the service is shutting down."""
        self._tell("STOPPING=1")

    def reloading(self) -> None:
        """Report that the service loads its config again. Call `ready` afterwards."""
        # On Linux, this clock is CLOCK_MONOTONIC, as systemd requires.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def _tell(self, what: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),  # if no process listens, the service continues
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto(what.encode(), self._address)


def _seconds(microseconds: str | None) -> float | None:
    if microseconds is None or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / _MICROSECONDS


STUCK_S = 30.0
"""Maximum time in seconds between two heartbeats. After this time, the reader thread is considered
to hang. No source needs this long to open or to deliver a frame."""


class Heartbeat:
    """Heartbeat of the reader thread. The main thread checks it."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def beat(self) -> None:
        """Record the time of an attempt to open or read the source. Failed attempts count, too."""
        self._last_s = time.monotonic()

    @property
    def is_stuck(self) -> bool:
        """True if the last heartbeat is more than `STUCK_S` ago."""
        return time.monotonic() - self._last_s > STUCK_S


@dataclass(frozen=True)
class ServiceOptions:
    """Options for unattended live runs.

    Attributes:
        reconnect: if True, wait for a source that is lost or not yet available.
        step_down: if True, reduce the work if the machine is overloaded or hot.
        hot_c: lowest temperature in degrees Celsius at which the machine counts as hot.
        prometheus_port: port on which Prometheus metrics are served; `None` serves no metrics.
    """

    reconnect: bool = False
    step_down: bool = True
    hot_c: float = HOT_C
    prometheus_port: int | None = None


DEFAULT_SERVICE = ServiceOptions()


class Notifier(Protocol):
    """Receiver of the state of a live run; `Systemd` describes the methods."""

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...
    def alive(self) -> None: ...
    def stopping(self) -> None: ...


def _open_alone(path: str | Path) -> Bundle:
    return Bundle.open(path)


@dataclass(frozen=True)
class Host:
    """Parts of a live run that its process provides, for example to share them between cameras.

    Attributes:
        open_bundle: function that opens a bundle by its path or name.
        stop: event that ends the run. `None` creates a new event.
        notifier: receiver of the state of the run. `None` notifies systemd.
        turn: turn of the run, if several runs share the processing time.
        load: load of all runs of the process. `None` controls the load of this run alone.
        metrics: server of the metrics of all runs. `None` serves the metrics of this run alone, if
            its options contain a port.
        camera: name of the camera in the metrics.
    """

    open_bundle: Callable[[str | Path], Bundle] = _open_alone
    stop: threading.Event | None = None
    notifier: Notifier | None = None
    turn: Turn | None = None
    load: SharedLoad | None = None
    metrics: MetricsServer | None = None
    camera: str = ""


ALONE = Host()
"""Host of a process with a single run."""


@dataclass
class ServiceSupervisor:
    """Load shedding, hot reload and metrics of one redirector.

    Attributes:
        options: options of the services.
        redirector: redirector whose work is reduced and whose bundle is replaced.
        path: path of the bundle. The bundle may be replaced during the run.
        correction_of: function that returns the correction for the gazes that a new bundle
            estimates. If the bundle cannot be used, the function raises an error.
        clock: clock that records the time of each stage.
        notify: function that receives messages.
        counts: counts of the source.
        auto_calibration: automatic calibration of the redirector; `None` if it is not in use.
        host: parts of the run that the process provides.
        workload: object that skips frames. `None` outside of `around`, or if the options turn load
            shedding off.
    """

    options: ServiceOptions
    redirector: Redirector
    path: Path
    correction_of: Callable[[Bundle], GazeCorrection]
    clock: StageClock
    notify: Callable[[str], None]
    counts: LiveCounts = field(default_factory=LiveCounts)
    auto_calibration: AutoCalibration | None = None
    host: Host = ALONE
    workload: FrameSkipper | None = None

    @contextmanager
    def around(self, process: FrameProcess) -> Iterator[FrameProcess]:
        """Yield a frame processor that adds hot reload and metrics to `process`.

        Raises:
            MissingPackageError: metrics are requested, but prometheus_client is not installed.
            StreamError: the port of the metrics is in use.
        """
        turn = self.host.turn
        with ExitStack() as held:
            attended: FrameProcess = held.enter_context(
                BundleReloader(
                    process,
                    self.redirector,
                    self.path,
                    correction_of=self.correction_of,
                    notify=self.notify,
                    coarse=self.options.step_down,
                    open_bundle=self.host.open_bundle,
                )
            )
            pressure = held.enter_context(self._pressure())
            if self.options.step_down:
                self.workload = FrameSkipper(
                    pressure,
                    self._set_fine,
                    waited_s=(lambda: 0.0) if turn is None else lambda: turn.waited_s,
                )
            attended = attended if turn is None else InTurn(attended, turn)
            yield held.enter_context(self._figures(attended, pressure))

    def _pressure(self) -> AbstractContextManager[Pressure]:
        """Return a context with the controller of the load."""
        if self.host.load is not None:
            return self.host.load.join(lambda: self.redirector.has_coarse)
        return nullcontext(
            LoadController(
                has_coarse=lambda: self.redirector.has_coarse,
                temperature=hottest_c,
                notify=self.notify,
                hot_c=self.options.hot_c,
            )
        )

    @contextmanager
    def _figures(self, process: FrameProcess, pressure: Pressure) -> Iterator[FrameProcess]:
        """Yield `process`, and serve its metrics if the host or the options request them."""
        server: AbstractContextManager[MetricsServer | None] = nullcontext(self.host.metrics)
        if self.host.metrics is None and self.options.prometheus_port is not None:
            server = open_endpoint(self.options.prometheus_port)
        with server as metrics:
            if metrics is None:
                yield process
                return
            with metrics.watch(
                process,
                counts=self.counts,
                clock=self.clock,
                level=lambda: pressure.level,
                auto_calibration=self.auto_calibration,
                camera=self.host.camera,
            ) as watched:
                yield watched

    def _set_fine(self, fine: bool) -> None:
        self.redirector.fine = fine
