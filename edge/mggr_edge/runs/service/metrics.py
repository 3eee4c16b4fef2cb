"""Serve the metrics and the health of a live run over HTTP.

Prometheus reads the metrics at `/metrics`. `/health` is for programs that restart a service: the
status is 200 while frames are processed, and 503 otherwise.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any, Literal
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import StageClock
from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.pipeline.lens_looks import AutoCalibration
from mggr_edge.pipeline.results import FrameProcess, FrameResult

HEALTHY_S = 30.0
"""If no frame was processed for this time in seconds, the run counts as not healthy."""


@dataclass
class LiveCounts:
    """Counts that `live_run` updates during a run.

    Attributes:
        dropped: number of frames that were not processed because a newer frame had arrived.
        left_out: number of frames that load shedding skipped.
        reconnected: number of reconnections to the source.
        age_s: age of the last frame when it was written to the output, in seconds since its
            arrival. `None` before the first frame.
        oldest_s: maximum age of all frames in seconds.
        written_s: time of the last written frame, in seconds of `time.monotonic`. `None` before the
            first frame.
    """

    dropped: int = 0
    left_out: int = 0
    reconnected: int = 0
    age_s: float | None = None
    oldest_s: float = 0.0
    written_s: float | None = None

    def note_written(self, *, arrived_s: float) -> None:
        """Record that a frame was written now.

        Args:
            arrived_s: time of the arrival of the frame, in seconds of `time.monotonic`.
        """
        self.written_s = time.monotonic()
        self.age_s = self.written_s - arrived_s
        self.oldest_s = max(self.oldest_s, self.age_s)

    def health(self) -> dict[str, Any]:
        """Return the health as JSON types: `ok`, and the seconds since the last frame."""
        since_s = None if self.written_s is None else time.monotonic() - self.written_s
        return {
            "ok": since_s is not None and since_s <= HEALTHY_S,
            "seconds_since_frame": None if since_s is None else round(since_s, 3),
            "frame_age_s": None if self.age_s is None else round(self.age_s, 4),
            "frames_dropped": self.dropped,
            "reconnects": self.reconnected,
        }


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


@dataclass(frozen=True)
class Watched:
    """One live run whose metrics are served.

    Attributes:
        process: frame processor that counts the frames.
        counts: counts of the source.
        clock: clock that records the time of each stage.
        level: function that returns the current level of load shedding.
        auto_calibration: automatic calibration to report; `None` if it is not in use.
    """

    process: CountedProcess
    counts: LiveCounts
    clock: StageClock
    level: Callable[[], int]
    auto_calibration: AutoCalibration | None = None


class MetricsServer:
    """Server of the metrics and the health of one live run, or of several cameras.

    Attributes:
        cameras: names of the cameras of a service. The metrics then have the label `camera`, and
            the service is healthy if each of these cameras is healthy. `None` for a single run.
    """

    def __init__(self, cameras: tuple[str, ...] | None = None) -> None:
        self.cameras = cameras
        self._watched: dict[str, Watched] = {}

    @contextmanager
    def watch(
        self,
        process: FrameProcess,
        *,
        counts: LiveCounts,
        clock: StageClock,
        level: Callable[[], int],
        auto_calibration: AutoCalibration | None = None,
        camera: str = "",
    ) -> Iterator[CountedProcess]:
        """Yield a frame processor that counts the frames, and report the counts of a run.

        Args:
            process: inner frame processor, which is called with each frame.
            counts: see `Watched`.
            clock: see `Watched`.
            level: see `Watched`.
            auto_calibration: see `Watched`.
            camera: name of the camera, if several cameras are watched.
        """
        counted = CountedProcess(process)
        self._watched[camera] = Watched(counted, counts, clock, level, auto_calibration)
        try:
            yield counted
        finally:
            del self._watched[camera]

    def health(self) -> dict[str, Any]:
        """Return the health as JSON types; see `LiveCounts.health`."""
        found = {name: one.counts.health() for name, one in list(self._watched.items())}
        if self.cameras is None:
            return next(iter(found.values()), LiveCounts().health())
        each = {name: found.get(name, LiveCounts().health()) for name in self.cameras}
        return {"ok": all(health["ok"] for health in each.values()), "cameras": each}

    def collect(self) -> Iterable[Any]:
        """Yield the metrics in the format of the client library of Prometheus."""
        families: dict[str, Any] = {}
        for camera, watched in list(self._watched.items()):
            labels = [] if self.cameras is None else [camera]
            for kind, name, text, label, value in _figures(watched):
                if name not in families:
                    names = [] if self.cameras is None else ["camera"]
                    families[name] = _family(kind, name, text, [*names, *label])
                families[name].add_metric([*labels, *label.values()], value)
        return families.values()


_Kind = Literal["counter", "gauge"]


def _family(kind: _Kind, name: str, text: str, labels: list[str]) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    of = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    return of(name, text, labels=labels)


def _figures(watched: Watched) -> Iterator[tuple[_Kind, str, str, dict[str, str], float]]:
    """Yield the metrics of one run: kind, name, description, labels and value."""
    process, counts = watched.process, watched.counts
    for name, text, count in (
        ("frames", "Processed frames.", process.frames),
        ("frames_failed", "Frames left unmodified after an error.", process.failed),
        ("frames_dropped", "Frames dropped because a newer frame had arrived.", counts.dropped),
        ("frames_left_out", "Frames skipped by load shedding.", counts.left_out),
        ("eyes_redirected", "Redirected eyes.", process.eyes_redirected),
        ("reconnects", "Reconnections to the source.", counts.reconnected),
    ):
        yield "counter", f"mggr_{name}", text, {}, count
    text = "Eyes that were redirected only partly or not at all, counted per reason."
    for reason, count in list(process.left_alone.items()):
        yield "counter", "mggr_eyes_left_alone", text, {"reason": reason}, count
    text = "Processing time per stage in seconds."
    for stage, spent_s in watched.clock.totals_s().items():
        yield "counter", "mggr_stage_seconds", text, {"stage": stage}, spent_s
    if counts.age_s is not None:
        text = "Age of the last frame when it was written: seconds since its arrival."
        yield "gauge", "mggr_frame_age_seconds", text, {}, counts.age_s
        text = "Maximum age of all written frames, in seconds."
        yield "gauge", "mggr_frame_age_max_seconds", text, {}, counts.oldest_s
    yield "gauge", "mggr_faces", "Faces in the last frame.", {}, process.faces
    text = "Load shedding: 0 is full processing, 1 skips the fine branch, 2 also skips frames."
    yield "gauge", "mggr_step_down", text, {}, watched.level()
    if watched.auto_calibration is not None:
        text = "Change that automatic calibration made to the profile's offset, in degrees."
        change_deg = watched.auto_calibration.change_deg
        for axis, degrees in zip(("pitch", "yaw"), change_deg, strict=True):
            name = "mggr_auto_calibration_change_degrees"
            yield "gauge", name, text, {"axis": axis}, degrees
        text = "Total time in which the gaze was near the lens, in seconds."
        name = "mggr_auto_calibration_near_lens_seconds"
        yield "counter", name, text, {}, watched.auto_calibration.near_lens_s


@contextmanager
def open_endpoint(port: int, cameras: tuple[str, ...] | None = None) -> Iterator[MetricsServer]:
    """Serve metrics and health at http://127.0.0.1:PORT until the context ends.

    Args:
        port: port to listen on.
        cameras: names of the cameras; see `MetricsServer`.

    Raises:
        MissingPackageError: prometheus_client is not installed.
        StreamError: the port is in use.
    """
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
    except ModuleNotFoundError as error:
        raise MissingPackageError("prometheus_client", "prometheus") from error
    watching = MetricsServer(cameras)
    registry = CollectorRegistry()
    registry.register(watching)
    ProcessCollector(registry=registry)
    metrics = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/health":
            return metrics(environ, start_response)
        health = watching.health()
        status = "200 OK" if health["ok"] else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(health).encode() + b"\n"]

    try:
        server = _Server((HOST, port), _SilentHandler)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StreamError(
            f"http://{HOST}:{port} cannot be served: {reason}; choose another port with "
            "--prometheus PORT",
            code="port-not-available",
            port=port,
            reason=reason,
        ) from error
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield watching
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    """Server that answers each request in a thread, so that a slow client blocks no other."""

    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    """Handler that writes no log lines."""

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""
