"""RTSP streams of a real server, where GStreamer is installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.recordings import Recording
from mggr_edge.media.live.sinks import NullOutput
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.live_run import run_live
from streaming import Server, serving, shows_bars

av = pytest.importorskip("av")

from refusals import refusal  # noqa: E402
from scripted_source import frames_of, invert  # noqa: E402


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with serving() as start:
        yield start


def address_of(server: Server) -> LiveAddress:
    return LiveAddress("rtsp", server.url)


@pytest.mark.extended
@pytest.mark.processes
def test_a_stream_is_recorded_until_it_ends(tmp_path: Path, serve: Callable[..., Server]) -> None:
    summary = run_live(address_of(serve(75)), Recording(tmp_path / "bars.mp4"), process=invert)
    assert summary.lost is None
    # Three seconds, less what went by while the stream was looked at.
    assert 30 <= summary.frames + summary.dropped <= 75
    shown = frames_of(tmp_path / "bars.mp4")
    assert len(shown) == summary.frames
    assert shows_bars(255 - shown[0])
    assert shows_bars(255 - shown[-1])


@pytest.mark.extended
@pytest.mark.processes
def test_a_server_that_is_killed_ends_the_stream_and_the_recording_stays(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    server = serve(0)

    def kill_after_a_second(
        frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> FrameResult:
        if time_s is not None and time_s > 1 and server.process.poll() is None:
            server.process.kill()
        return FrameResult(frame, ())

    summary = run_live(
        address_of(server), Recording(tmp_path / "bars.mp4"), process=kill_after_a_second
    )
    assert summary.lost is None  # a closed connection is an end, as FFmpeg sees it
    assert len(frames_of(tmp_path / "bars.mp4")) == summary.frames > 10


@pytest.mark.extended
@pytest.mark.processes
def test_a_server_that_falls_silent_is_a_loss_and_the_recording_stays(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mggr_edge.media.live.rtsp_client._SILENT_S", 1.5)
    server = serve(0)

    def stop_after_a_second(
        frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> FrameResult:
        if time_s is not None and time_s > 1:
            server.process.send_signal(signal.SIGSTOP)
        return FrameResult(frame, ())

    summary = run_live(
        address_of(server), Recording(tmp_path / "bars.mp4"), process=stop_after_a_second
    )
    # Answer, or a whole picture of what was still on its way.
    assert summary.lost is not None
    assert server.url in summary.lost
    assert summary.lost.endswith(" for 1.5 seconds")
    assert len(frames_of(tmp_path / "bars.mp4")) == summary.frames > 10


@pytest.mark.extended
@pytest.mark.processes
def test_sound_that_goes_on_does_not_hide_a_loss(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mggr_edge.media.live.rtsp_client._SILENT_S", 1.5)
    server = serve(75, "sound")
    summary = run_live(address_of(server), Recording(tmp_path / "bars.mp4"), process=invert)
    assert summary.frames > 10
    # Sound is not asked for, so the server's session ends with its pictures.
    assert summary.lost is None


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_well(
    tmp_path: Path, serve: Callable[..., Server], number: signal.Signals
) -> None:
    script = (
        "import sys\n"
        "from mggr_edge.media.live.address import live_address\n"
        "from mggr_edge.media.live.sinks import live_output\n"
        "from mggr_edge.runs.live_run import run_live\n"
        "from mggr_edge.pipeline.results import FrameResult\n"
        "def process(frame, /, *, time_s=None):\n"
        "    print('frame', flush=True)\n"
        "    return FrameResult(frame, ())\n"
        "summary = run_live(live_address(sys.argv[1]), live_output(sys.argv[2]), process=process)\n"
        "assert summary.lost is None\n"
        "print(summary.frames)\n"
    )
    recorder = subprocess.Popen(
        [sys.executable, "-c", script, serve(0).url, tmp_path / "bars.mp4"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert recorder.stdout is not None
    for _ in range(20):
        assert recorder.stdout.readline() == "frame\n"
    recorder.send_signal(number)
    rest, _ = recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    assert len(frames_of(tmp_path / "bars.mp4")) == int(rest.splitlines()[-1]) >= 20
    assert [path.name for path in tmp_path.iterdir()] == ["bars.mp4"]


@pytest.mark.processes
def test_an_address_where_nobody_answers(serve: Callable[..., Server]) -> None:
    server = serve(5)
    gone = server.url.replace("/bars", "/other")
    with refusal(StreamError, "rtsp-open-failed", address=gone):
        run_live(LiveAddress("rtsp", gone), NullOutput(), process=invert)
    server.kill()
    with refusal(StreamError, "rtsp-open-failed", address=server.url, reason="Connection refused"):
        run_live(address_of(server), NullOutput(), process=invert)
