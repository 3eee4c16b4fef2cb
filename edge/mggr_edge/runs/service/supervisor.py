"""Services of unattended live runs: options, systemd notifications and Prometheus metrics.

Messages to systemd are sent to a Unix socket. The environment variable `NOTIFY_SOCKET` contains the
path of this socket. If the variable is not set, as in a terminal, no message is sent.

References:
    sd_notify(3), systemd.service(5): `Type=notify`, `WatchdogSec=`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import StageClock
from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.gaze_correction import GazeCorrection
from mggr_edge.pipeline.lens_looks import AutoCalibration
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameProcess, FrameResult
from mggr_edge.runs.service.hot_reload import BundleReloader
from mggr_edge.runs.service.load_shedding import HOT_C, FrameSkipper, LoadController, hottest_c

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


@dataclass
class LiveCounts:
    """Counts that `live_run` updates during a run.

    Attributes:
        dropped: number of frames that were not processed because a newer frame had arrived.
        left_out: number of frames that load shedding skipped.
        reconnected: number of reconnections to the source.
    """

    dropped: int = 0
    left_out: int = 0
    reconnected: int = 0


HOST = "127.0.0.1"


class CountedProcess:
    """Frame processor that counts frames, failures, faces and redirected eyes.

    Args:
        process: inner frame processor, which is called with each frame.
    """

    def __init__(self, process: FrameProcess) -> None:
        self._process = process
        self.frames = self.failed = self.eyes_redirected = self.faces = 0
        self.left_alone: Counter[str] = Counter()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Process a frame and update the counts."""
        result = self._process(frame, time_s=time_s)
        self.frames += 1
        self.failed += result.failure is not None
        self.faces = len(result.faces)
        for eye in (eye for face in result.faces for eye in face.eyes):
            self.eyes_redirected += eye.strength > 0
            if eye.reason is not None:
                self.left_alone[eye.reason] += 1
        return result


class _Figures:
    """Prometheus collector that reads the current counts at each request of the metrics."""

    def __init__(
        self,
        watched: CountedProcess,
        counts: LiveCounts,
        clock: StageClock,
        level: Callable[[], int],
        auto_calibration: AutoCalibration | None,
    ) -> None:
        self._watched, self._counts, self._clock, self._level = watched, counts, clock, level
        self._auto_calibration = auto_calibration

    def collect(self) -> Iterable[Any]:
        """Yield the metrics in the format of the client library."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        watched, counts = self._watched, self._counts
        for name, text, value in (
            ("frames", "Processed frames.", watched.frames),
            ("frames_failed", "Frames left unmodified after an error.", watched.failed),
            ("frames_dropped", "Frames dropped because a newer frame had arrived.", counts.dropped),
            ("frames_left_out", "Frames skipped by load shedding.", counts.left_out),
            ("eyes_redirected", "Redirected eyes.", watched.eyes_redirected),
            ("reconnects", "Reconnections to the source.", counts.reconnected),
        ):
            yield CounterMetricFamily(f"mggr_{name}", text, value=value)
        reasons = CounterMetricFamily(
            "mggr_eyes_left_alone",
            "Eyes that were redirected only partly or not at all, counted per reason.",
            labels=["reason"],
        )
        for reason, count in list(watched.left_alone.items()):
            reasons.add_metric([reason], count)
        yield reasons
        stages = CounterMetricFamily(
            "mggr_stage_seconds", "Processing time per stage in seconds.", labels=["stage"]
        )
        for stage, spent_s in self._clock.totals_s().items():
            stages.add_metric([stage], spent_s)
        yield stages
        yield GaugeMetricFamily("mggr_faces", "Faces in the last frame.", value=watched.faces)
        yield GaugeMetricFamily(
            "mggr_step_down",
            "Load shedding: 0 is full processing, 1 skips the fine branch, 2 also skips frames.",
            value=self._level(),
        )
        if self._auto_calibration is not None:
            change = GaugeMetricFamily(
                "mggr_auto_calibration_change_degrees",
                "Change that automatic calibration made to the profile's offset, in degrees.",
                labels=["axis"],
            )
            for axis, degrees in zip(
                ("pitch", "yaw"), self._auto_calibration.change_deg, strict=True
            ):
                change.add_metric([axis], degrees)
            yield change
            yield CounterMetricFamily(
                "mggr_auto_calibration_near_lens_seconds",
                "Total time in which the gaze was near the lens, in seconds.",
                value=self._auto_calibration.near_lens_s,
            )


@contextmanager
def open_endpoint(
    port: int,
    process: FrameProcess,
    *,
    counts: LiveCounts,
    clock: StageClock,
    level: Callable[[], int],
    auto_calibration: AutoCalibration | None = None,
) -> Iterator[CountedProcess]:
    """Serve metrics at http://127.0.0.1:PORT/metrics, and yield a `CountedProcess`.

    Args:
        port: port to listen on; 0 selects a free port.
        process: inner frame processor, which is called with each frame.
        counts: counts of the source.
        clock: clock that records the time of each stage.
        level: function that returns the current level of load shedding.
        auto_calibration: automatic calibration to report; `None` if it is not in use.

    Raises:
        MissingPackageError: prometheus_client is not installed.
        StreamError: the port is in use.
    """
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
    except ModuleNotFoundError as error:
        raise MissingPackageError("prometheus_client", "prometheus") from error
    watched = CountedProcess(process)
    registry = CollectorRegistry()
    registry.register(_Figures(watched, counts, clock, level, auto_calibration))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, addr=HOST, registry=registry)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StreamError(
            f"http://{HOST}:{port} cannot be served: {reason}; choose another port with "
            "--prometheus PORT",
            code="port-not-available",
            port=port,
            reason=reason,
        ) from error
    try:
        yield watched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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
    """

    options: ServiceOptions
    redirector: Redirector
    path: Path
    correction_of: Callable[[Bundle], GazeCorrection]
    clock: StageClock
    notify: Callable[[str], None]
    counts: LiveCounts = field(default_factory=LiveCounts)
    auto_calibration: AutoCalibration | None = None

    def __post_init__(self) -> None:
        self._pressure = LoadController(
            has_coarse=lambda: self.redirector.has_coarse,
            temperature=hottest_c,
            notify=self.notify,
            hot_c=self.options.hot_c,
        )
        self.workload = (
            FrameSkipper(self._pressure, self._set_fine) if self.options.step_down else None
        )

    @contextmanager
    def around(self, process: FrameProcess) -> Iterator[FrameProcess]:
        """Yield a frame processor that adds hot reload and metrics to `process`.

        Raises:
            MissingPackageError: metrics are requested, but prometheus_client is not installed.
            StreamError: the port of the metrics is in use.
        """
        attended = BundleReloader(
            process,
            self.redirector,
            self.path,
            correction_of=self.correction_of,
            notify=self.notify,
            coarse=self.options.step_down,
        )
        with attended, self._figures(attended) as watched:
            yield watched

    def _figures(self, process: FrameProcess) -> AbstractContextManager[FrameProcess]:
        """Return a context that yields `process` and serves metrics if a port is set."""
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
