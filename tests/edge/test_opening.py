"""A source that takes long to open: the main thread does not wait for it."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.rtsp_client import RtspCapture
from mggr_edge.media.live.sinks import NullOutput
from mggr_edge.media.live.sources import OpenedByReader
from mggr_edge.runs.live_run import run_live
from refusals import refusal
from scripted_source import CAMERA, Scripted, invert


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(server: socket.socket) -> str:
    return f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"


def test_a_run_ends_while_its_source_is_being_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opening, release = threading.Event(), threading.Event()
    source = Scripted(frames=0)
    source.gate.release()

    def open_slowly(*_: object) -> Scripted:
        assert threading.current_thread() is not threading.main_thread()
        opening.set()
        release.wait(60)
        return source

    monkeypatch.setattr("mggr_edge.media.live.sources._opened", open_slowly)
    stop = threading.Event()
    threading.Thread(target=lambda: (opening.wait(60), stop.set()), daemon=True).start()
    summary = run_live(CAMERA, NullOutput(), process=invert, stop=stop)
    assert (summary.frames, summary.lost) == (0, None)
    release.set()
    (reader,) = [one for one in threading.enumerate() if one.name == "capture"]
    reader.join(10)
    assert source.closed


def test_a_source_is_opened_once_and_closed_if_it_was_opened() -> None:
    source, opened = Scripted(frames=2), []
    source.gate.release(2)
    capture = OpenedByReader(lambda: source, opened=lambda: opened.append(True))
    assert capture.stream_time_s is None
    assert [capture.read() is None for _ in range(2)] == [False, False]
    capture.close()
    capture.close()
    assert (opened, source.closed) == ([True], True)


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.usefixtures("bundle")  # a command reads its models before it opens the source
@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (["run", "null://"], signal.SIGTERM, 0),
        (["calibrate"], signal.SIGINT, 1),
        (["calibrate"], signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_a_command_whose_source_does_not_answer(
    silent: socket.socket, command: list[str], number: int, code: int
) -> None:
    name, *output = command
    with subprocess.Popen(
        [sys.executable, "-m", "mggr_edge", name, url_of(silent), *output],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)  # the reader waits for the answer from now on
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
            assert process.returncode == code, said


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.usefixtures("bundle")
def test_a_service_goes_on_while_its_messages_cannot_be_written(silent: socket.socket) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(
            [sys.executable, "-m", "mggr_edge", "run", url_of(silent), "null://", "--reconnect"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
            stderr=full,
        ) as process,
    ):
        silent.settimeout(60)
        silent.accept()[0].close()  # lost: a message is due
        with silent.accept()[0]:  # and it is tried again
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_a_silent_server_is_named_as_such(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mggr_edge.media.live.rtsp_client._OPEN_S", 0.5)
    with refusal(StreamError, "rtsp-open-timeout", address=url_of(silent), timeout_s=0.5):
        RtspCapture(LiveAddress("rtsp", url_of(silent)))


def test_an_unknown_host_name_is_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        av.error.err_check(-errno.EIO)

    monkeypatch.setattr(av, "open", fail)
    url = "rtsp://camera.invalid/live"
    with refusal(StreamError, "rtsp-host-unresolved", address=url):
        RtspCapture(LiveAddress("rtsp", url))
