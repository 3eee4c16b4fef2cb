"""What happens to a camera service in months: real processes, killed, stalled and cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from mggr_edge.media.files.written import cut_to_whole_fragments
from mggr_edge.models.bundle import Bundle
from streaming import Server, serving, shows_bars

av = pytest.importorskip("av")

from scripted_source import frames_of  # noqa: E402

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

PATIENCE_S = 240

SCRIPT = """
import sys
import mggr_edge.media.live.rtsp_client as rtsp
import mggr_edge.media.live.sources as reconnecting
from mggr_edge.common.cli_group import echo_error
from mggr_edge.errors import MggrError
from mggr_edge.common.process import exit_if_readers_hang
from mggr_edge.media.live.address import live_address
from mggr_edge.media.live.sinks import live_output
from mggr_edge.runs.live_run import run_live
from mggr_edge.pipeline.results import FrameResult

rtsp._SILENT_S = 1.5
reconnecting._LONGEST_WAIT_S = 1.0

def put(text):
    # A line and its end in one write: the thread that reads the source has messages, too.
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()

def process(frame, /, *, time_s=None):
    put(f"frame {time_s!r}")
    return FrameResult(255 - frame, ())

try:
    summary = run_live(
        live_address(sys.argv[1]),
        live_output(sys.argv[2]),
        process=process,
        reconnect="reconnect" in sys.argv,
        notify=put,
    )
except MggrError as error:
    echo_error(str(error))
    sys.exit(2)
put(summary.in_words())
code = 0 if summary.lost is None else 2
exit_if_readers_hang(code)
sys.exit(code)
"""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with serving() as start:
        yield start


class Recorder:
    """`run_live` in a process of its own, and what it says line by line."""

    def __init__(self, url: str, output: str | Path, *more: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, url, str(output), *more],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # What is waited for in vain shall fail, and not hang.
        self._end = threading.Timer(PATIENCE_S, self.process.kill)
        self._end.start()
        self.frames = 0
        self.times_s: list[float] = []
        self.said: list[str] = []

    def line(self) -> str:
        assert self.process.stdout is not None
        text = self.process.stdout.readline().rstrip("\n")
        if text.startswith("frame "):
            self.frames += 1
            self.times_s.append(float(text.split()[1]))
        elif text:
            self.said.append(text)
        return text

    def frames_more(self, count: int) -> None:
        wanted = self.frames + count
        while self.frames < wanted:
            assert self.line(), self.process.communicate()

    def until_said(self, what: str) -> None:
        while what not in (text := self.line()):
            assert text, self.process.communicate()

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Ends it by a signal; its exit code, and how long it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        while self.line():
            pass
        code = self.process.wait(timeout=20)
        return code, time.monotonic() - started

    def close(self) -> None:
        self._end.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def record() -> Iterator[Callable[..., Recorder]]:
    started: list[Recorder] = []

    def start(*arguments: str | Path, **environment: str) -> Recorder:
        started.append(Recorder(*arguments, **environment))
        return started[-1]

    yield start
    for recorder in started:
        recorder.close()


@pytest.mark.processes
@pytest.mark.parametrize(
    "times",
    [pytest.param(3, marks=pytest.mark.extended), pytest.param(20, marks=pytest.mark.slow)],
)
def test_a_server_that_is_killed_and_comes_back_is_found_again(
    tmp_path: Path,
    serve: Callable[..., Server],
    record: Callable[..., Recorder],
    times: int,
) -> None:
    server = serve(0)
    recorder = record(server.url, tmp_path / "a.mp4", "reconnect")
    recorder.frames_more(10)
    for _ in range(times):
        server.kill()
        recorder.until_said("; retrying")
        server = serve(0, port=server.port)
        recorder.until_said(f"reconnected to {server.url} after ")
        recorder.frames_more(10)
    code, _ = recorder.end()
    assert code == 0
    shown = frames_of(tmp_path / "a.mp4")
    assert len(shown) == recorder.frames >= 10 * (times + 1)
    assert all(shows_bars(255 - frame) for frame in (shown[0], shown[-1]))
    assert recorder.said[-1].startswith(f"wrote {tmp_path / 'a.mp4'}: {recorder.frames} frames; ")
    assert f"reconnected {times} times" in recorder.said[-1]
    lost = [text for text in recorder.said if "; retrying" in text]
    assert times <= len(lost) <= 3 * times  # each reason once, however often it is tried
    assert all(earlier < later for earlier, later in pairwise(recorder.times_s))


@pytest.mark.extended
@pytest.mark.processes
def test_a_server_that_is_not_there_yet_is_waited_for(
    serve: Callable[..., Server], record: Callable[..., Recorder]
) -> None:
    server = serve(0)
    server.kill()
    recorder = record(server.url, "null://", "reconnect")
    recorder.until_said("Connection refused; retrying")
    serve(0, port=server.port)
    recorder.frames_more(5)
    assert recorder.end()[0] == 0


@pytest.mark.extended
@pytest.mark.processes
def test_a_source_that_stalls_without_closing_is_lost_and_found_again(
    tmp_path: Path, serve: Callable[..., Server], record: Callable[..., Recorder]
) -> None:
    server = serve(0)
    recorder = record(server.url, tmp_path / "a.mp4", "reconnect")
    recorder.frames_more(10)
    server.process.send_signal(signal.SIGSTOP)
    recorder.until_said("; retrying")
    assert " lost: no " in recorder.said[-1]  # answer, or whole picture of what still came
    at_loss = recorder.frames
    server.process.send_signal(signal.SIGCONT)
    recorder.until_said("reconnected to ")
    assert recorder.frames == at_loss  # none is repeated or made up meanwhile
    recorder.frames_more(10)
    assert recorder.end()[0] == 0
    assert len(frames_of(tmp_path / "a.mp4")) == recorder.frames


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_a_second_even_while_the_source_stalls(
    tmp_path: Path,
    serve: Callable[..., Server],
    record: Callable[..., Recorder],
    number: signal.Signals,
) -> None:
    server = serve(0)
    recorder = record(server.url, tmp_path / "a.mp4")
    recorder.frames_more(20)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)  # what was on its way has come
    code, took_s = recorder.end(number)
    server.process.send_signal(signal.SIGCONT)
    assert code == 0
    assert took_s < 2.0  # half a second for the reader; the rest is a loaded machine's
    assert len(frames_of(tmp_path / "a.mp4")) == recorder.frames
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.extended
@pytest.mark.processes
def test_what_is_killed_outright_leaves_a_file_that_plays_to_its_last_fragment(
    tmp_path: Path, serve: Callable[..., Server], record: Callable[..., Recorder]
) -> None:
    recorder = record(serve(0).url, tmp_path / "a.mp4")
    while not recorder.times_s or recorder.times_s[-1] < 5.0:
        recorder.frames_more(5)
    recorder.process.kill()
    recorder.process.wait()
    (left,) = tmp_path.iterdir()
    assert ".partial-" in left.name
    assert cut_to_whole_fragments(left)
    shown = frames_of(left)
    # Fragments of two seconds: of five, at least the first two are there.
    assert recorder.frames >= len(shown) > 0.5 * recorder.frames
    assert shows_bars(255 - shown[-1])


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted by root alone")
def test_a_disk_that_is_full_keeps_what_was_recorded(
    tmp_path: Path, serve: Callable[..., Server], record: Callable[..., Recorder]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    size = ["-o", "size=200k", "tmpfs", str(disk)]
    if subprocess.run(["mount", "-t", "tmpfs", *size], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        recorder = record(serve(0).url, disk / "a.mp4")
        while recorder.line():
            pass
        assert recorder.process.wait(timeout=20) == 2
        assert recorder.process.stderr is not None
        (message,) = recorder.process.stderr.read().splitlines()
        assert message.startswith(f"error: {disk / 'a.mp4'} ")
        assert "No space left on device; " in message
        assert "recorded before the error" in message
        assert [path.name for path in disk.iterdir()] == ["a.mp4"]
        shown = frames_of(disk / "a.mp4")
        assert recorder.frames > len(shown) > 10
        assert shows_bars(255 - shown[-1])
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.extended
@pytest.mark.processes
def test_a_pipe_that_is_closed_ends_in_one_line(
    serve: Callable[..., Server], tmp_path: Path, bundle: Bundle
) -> None:
    """Lines of JSON into `head -2`, which reads two and goes."""
    command = f"{sys.executable} -m mggr_edge run {serve(0).url} null:// --estimate-only"
    shell = f"{command} --metrics /dev/stdout --force 2>{tmp_path / 'errors'} | head -2"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    errors = (tmp_path / "errors").read_text()
    assert [line[:9] for line in done.stdout.splitlines()] == ['{"frame":', '{"frame":'], errors
    assert done.returncode == 2
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    (message,) = said
    assert "/dev/stdout " in message
    assert message.endswith(": broken pipe")
    assert "Traceback" not in errors


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.skipif(FAKETIME is None, reason="no libfaketime")
def test_a_clock_that_steps_back_is_not_noticed(
    tmp_path: Path, serve: Callable[..., Server], record: Callable[..., Recorder]
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    recorder = record(
        serve(0).url,
        tmp_path / "a.mp4",
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    recorder.frames_more(20)
    clock.write_text("-3600\n")
    recorder.frames_more(30)
    assert recorder.end()[0] == 0
    shown = frames_of(tmp_path / "a.mp4")
    assert len(shown) == recorder.frames >= 50
    steps_s = [later - earlier for earlier, later in pairwise(recorder.times_s)]
    assert 0 < min(steps_s) <= max(steps_s) < 5
    with closing(av.open(str(tmp_path / "a.mp4"))) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert all(0 < later - earlier < 5 for earlier, later in pairwise(times))
