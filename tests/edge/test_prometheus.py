"""Figures for Prometheus: true, on this machine's own address, and gone when it ends."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from socket import create_server, socket
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.common.timing import StageClock
from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.runs.service.metrics import CountedProcess, LiveCounts, open_endpoint
from ports import free_port
from refusals import refusal

client = pytest.importorskip("prometheus_client.parser")


def eye(strength: float, reason: str | None) -> EyeResult:
    outline = np.zeros((16, 2), np.float32)
    return EyeResult("right", outline, None, Gaze(0, 0), strength, reason)


def one_face(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    eyes = (eye(1.0, None), eye(0.0, "closed"))
    face = FaceResult(0, np.zeros((468, 3), np.float32), Gaze(0, 0), eyes)
    return FrameResult(frame, (face,), failure="it broke" if frame[0, 0, 0] else None)


def read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    families = client.text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {"|".join([s.name, *s.labels.values()]): s.value for s in samples}


def test_figures_are_those_of_the_moment() -> None:
    port, counts, clock, level = free_port(), LiveCounts(), StageClock(), [0]
    with (
        open_endpoint(port) as server,
        server.watch(one_face, counts=counts, clock=clock, level=lambda: level[0]) as watched,
    ):
        assert read(port)["mggr_frames_total"] == 0
        for grey in (0, 0, 1):
            with clock("find faces"):
                watched(np.full((4, 4, 3), grey, np.uint8))
        counts.dropped, counts.left_out, counts.reconnected, level[0] = 7, 5, 2, 1
        said = read(port)
    assert said["mggr_frames_total"] == 3
    assert said["mggr_frames_failed_total"] == 1
    assert said["mggr_frames_dropped_total"] == 7
    assert said["mggr_frames_left_out_total"] == 5
    assert said["mggr_reconnects_total"] == 2
    assert said["mggr_eyes_redirected_total"] == 3
    assert said["mggr_eyes_left_alone_total|closed"] == 3
    assert said["mggr_stage_seconds_total|find faces"] == clock.totals_s()["find faces"]
    assert said["mggr_faces"] == 1
    assert said["mggr_step_down"] == 1
    if sys.platform == "linux":
        assert said["process_resident_memory_bytes"] > 1e7
    with pytest.raises(OSError, match="refused"), closing(socket()) as gone:
        gone.connect(("127.0.0.1", port))


def test_the_change_of_an_auto_calibration_is_a_figure() -> None:
    port, refining = free_port(), SimpleNamespace(change_deg=(0.5, -1.5), near_lens_s=42.0)
    with (
        open_endpoint(port) as server,
        server.watch(
            one_face,
            counts=LiveCounts(),
            clock=StageClock(),
            level=lambda: 0,
            auto_calibration=refining,  # type: ignore[arg-type]
        ),
    ):
        said = read(port)
    assert said["mggr_auto_calibration_change_degrees|pitch"] == 0.5
    assert said["mggr_auto_calibration_change_degrees|yaw"] == -1.5
    assert said["mggr_auto_calibration_near_lens_seconds_total"] == 42.0


@contextmanager
def endpoint(port: int) -> Iterator[CountedProcess]:
    with (
        open_endpoint(port) as server,
        server.watch(one_face, counts=LiveCounts(), clock=StageClock(), level=lambda: 0) as watched,
    ):
        yield watched


def test_cameras_have_labels_and_a_health_together() -> None:
    port, counts = free_port(), {"door": LiveCounts(), "desk": LiveCounts()}
    with open_endpoint(port, ("door", "desk")) as server:
        with ExitStack() as held:
            for camera, count in counts.items():
                watched = held.enter_context(
                    server.watch(
                        one_face, counts=count, clock=StageClock(), level=lambda: 1, camera=camera
                    )
                )
                watched(np.zeros((4, 4, 3), np.uint8))
            counts["desk"].note_written(arrived_s=0.0)
            said = read(port)
            assert said["mggr_frames_total|door"] == said["mggr_frames_total|desk"] == 1
            assert said["mggr_eyes_left_alone_total|desk|closed"] == 1
            assert said["mggr_step_down|door"] == 1
            health = server.health()
            assert (health["ok"], health["cameras"]["desk"]["ok"]) == (False, True)
            counts["door"].note_written(arrived_s=0.0)
            assert server.health()["ok"]
        # A camera whose run has failed is not healthy.
        assert not server.health()["ok"]
        assert set(server.health()["cameras"]) == {"door", "desk"}


def test_a_port_that_is_taken_is_one_line() -> None:
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        reason = "address already in use"
        with refusal(StreamError, "port-not-available", port=port, reason=reason), endpoint(port):
            pass


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    command = "pip install 'mggr-tf[prometheus]'"
    with refusal(MissingPackageError, "missing-package", command=command), endpoint(1):
        pass


def test_only_this_machine_is_listened_on() -> None:
    port = free_port()
    with endpoint(port), closing(create_server(("127.0.0.2", port))) as other:
        # Would be taken if every address were listened on.
        assert other.getsockname()[0] == "127.0.0.2"
