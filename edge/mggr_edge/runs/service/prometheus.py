"""Figures for Prometheus, on this machine's own address only, by its usual client library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import StageClock
from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.pipeline.lens_looks import AutoCalibration
from mggr_edge.pipeline.results import FrameProcess, FrameResult
from mggr_edge.runs.service.systemd import Counts

HOST = "127.0.0.1"


class Watched:
    """Counts what is done to the frames that go through.

    Args:
        process: what is done to each frame.
    """

    def __init__(self, process: FrameProcess) -> None:
        self._process = process
        self.frames = self.failed = self.eyes_redirected = self.faces = 0
        self.left_alone: Counter[str] = Counter()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Passes a frame through."""
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
    """What Prometheus reads, as it stands at that moment."""

    def __init__(
        self,
        watched: Watched,
        counts: Counts,
        clock: StageClock,
        level: Callable[[], int],
        auto_calibration: AutoCalibration | None,
    ) -> None:
        self._watched, self._counts, self._clock, self._level = watched, counts, clock, level
        self._auto_calibration = auto_calibration

    def collect(self) -> Iterable[Any]:
        """For the client library."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        watched, counts = self._watched, self._counts
        for name, text, value in (
            ("frames", "Frames that were worked on.", watched.frames),
            ("frames_failed", "Frames that passed through after an error.", watched.failed),
            ("frames_dropped", "Frames that came while another was in work.", counts.dropped),
            ("frames_left_out", "Frames left out, as there was too much to do.", counts.left_out),
            ("eyes_redirected", "Eyes that were redirected.", watched.eyes_redirected),
            ("reconnects", "How often the source came back.", counts.reconnected),
        ):
            yield CounterMetricFamily(f"mggr_{name}", text, value=value)
        reasons = CounterMetricFamily(
            "mggr_eyes_left_alone",
            "Eyes that were left alone or weakened, by reason.",
            labels=["reason"],
        )
        for reason, count in list(watched.left_alone.items()):
            reasons.add_metric([reason], count)
        yield reasons
        stages = CounterMetricFamily(
            "mggr_stage_seconds", "Seconds in every stage.", labels=["stage"]
        )
        for stage, spent_s in self._clock.totals_s().items():
            stages.add_metric([stage], spent_s)
        yield stages
        yield GaugeMetricFamily("mggr_faces", "Faces in the last frame.", value=watched.faces)
        yield GaugeMetricFamily(
            "mggr_step_down",
            "0: all of the work, 1: without the fine branch, 2: half the processing rate.",
            value=self._level(),
        )
        if self._auto_calibration is not None:
            change = GaugeMetricFamily(
                "mggr_auto_calibration_change_degrees",
                "Change of the profile's offset by auto-calibration.",
                labels=["axis"],
            )
            for axis, degrees in zip(
                ("pitch", "yaw"), self._auto_calibration.change_deg, strict=True
            ):
                change.add_metric([axis], degrees)
            yield change
            yield CounterMetricFamily(
                "mggr_auto_calibration_near_lens_seconds",
                "Seconds of steady looks near the lens.",
                value=self._auto_calibration.near_lens_s,
            )


@contextmanager
def open_endpoint(
    port: int,
    process: FrameProcess,
    *,
    counts: Counts,
    clock: StageClock,
    level: Callable[[], int],
    auto_calibration: AutoCalibration | None = None,
) -> Iterator[Watched]:
    """Serves figures at http://127.0.0.1:PORT/metrics; gives what counts the frames.

    Args:
        port: 0 takes any that is free.
        process: what is done to each frame.
        counts: of the source.
        clock: of the stages.
        level: how far the work is stepped down.
        auto_calibration: reported if it is in use.

    Raises:
        MissingPackageError: prometheus_client is not installed.
        StreamError: the port is in use.
    """
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
    except ModuleNotFoundError as error:
        raise MissingPackageError("prometheus_client", "prometheus") from error
    watched = Watched(process)
    registry = CollectorRegistry()
    registry.register(_Figures(watched, counts, clock, level, auto_calibration))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, addr=HOST, registry=registry)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StreamError(f"http://{HOST}:{port} cannot be served: {reason}") from error
    try:
        yield watched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
