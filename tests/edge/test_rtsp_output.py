"""An RTSP stream that we serve ourselves, by a real GStreamer, seen by real clients."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.common.addresses import Served
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.live.csi import import_gstreamer
from mggr_edge.media.live.sinks import RtspStream, live_output
from ports import free_port
from refusals import refusal
from streaming import Server, serving, shows_bars

av = pytest.importorskip("av")

SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"
"""Where Debian keeps PyGObject; it fits a Python of the system's own version alone."""

SCRIPT = f"""
import sys
sys.path.append({SYSTEM_PACKAGES!r})
from mggr_edge.errors import MggrError
from mggr_edge.media.live.address import live_address
from mggr_edge.media.live.file_playback import shown_file
from mggr_edge.media.live.sinks import live_output
from mggr_edge.runs.live_run import run_live
from mggr_edge.pipeline.results import FrameResult

def process(frame, /, *, time_s=None):
    print("frame", flush=True)
    return FrameResult(255 - frame, ())

try:
    source = live_address(sys.argv[1]) or shown_file(sys.argv[1], loops=-1)
    summary = run_live(source, live_output(sys.argv[2]), process=process)
except MggrError as error:
    sys.exit(f"error: {{error}}")
print(summary.in_words())
"""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    has_bindings = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({SYSTEM_PACKAGES!r}); import gi"],
        capture_output=True,
    )
    if has_bindings.returncode:
        pytest.skip("this Python has no bindings to GStreamer")
    with serving() as start:
        yield start


def redirecting(source: str, port: int, *, secret: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, source, f"rtsp://{secret}@127.0.0.1:{port}/eyes"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it said; it does not outlive the test."""
    try:
        return process.communicate(timeout=30)
    finally:
        process.kill()


def watch(port: int, frames: int, *, secret: str = "") -> list[NDArray[np.uint8]]:
    """So many frames, as a client of its own sees them."""
    url = f"rtsp://{secret}127.0.0.1:{port}/eyes"
    with closing(av.open(url, options={"rtsp_transport": "tcp"}, timeout=10)) as client:
        decoded = client.decode(video=0)
        return [next(decoded).to_ndarray(format="rgb24") for _ in range(frames)]


@pytest.mark.extended
@pytest.mark.processes
def test_clients_come_and_go_and_see_what_was_made(serve: Callable[..., Server]) -> None:
    port = free_port()
    served = redirecting(serve(0).url, port)
    assert served.stdout is not None
    assert served.stdout.readline() == "frame\n"
    for frames in (25, 5):  # one after the other has gone
        seen = watch(port, frames)
        assert len(seen) == frames
        assert shows_bars(255 - seen[-1])
    served.send_signal(signal.SIGTERM)
    said, errors = finished(served)
    assert served.returncode == 0, errors
    count = int(said.splitlines()[-1].split(": ")[1].split()[0])
    assert said.splitlines()[-1].startswith(f"wrote rtsp://127.0.0.1:{port}/eyes: ")
    assert count > 30


@pytest.mark.extended
@pytest.mark.processes
def test_a_film_is_streamed_again_and_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    film, port, colour = tmp_path / "a.mp4", free_port(), (200, 60, 60)
    with closing(av.open(str(film), "w")) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(10):
            picture = np.full((240, 320, 3), colour, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    served = redirecting(str(film), port)
    assert served.stdout is not None
    assert served.stdout.readline() == "frame\n"
    seen = watch(port, 30)
    served.send_signal(signal.SIGTERM)
    _, errors = finished(served)
    assert served.returncode == 0, errors
    assert np.abs(seen[-1].mean(axis=(0, 1)) - (255 - np.array(colour))).max() < 12


@pytest.mark.extended
@pytest.mark.processes
def test_a_port_that_is_taken_is_one_line(serve: Callable[..., Server]) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = redirecting(serve(50).url, port)
        _, errors = finished(refused)
    assert refused.returncode == 1
    assert f"rtsp://127.0.0.1:{port}/eyes" in errors.splitlines()[-1]
    assert "is in use" in errors.splitlines()[-1]


LARGE_SCRIPT = f"""
import sys, time
sys.path.append({SYSTEM_PACKAGES!r})
import numpy as np
from mggr_edge.media.live.sinks import live_output
from mggr_edge.runs.live_run import layout_of_live as layout
from mggr_edge.media.files.video_reader import TimedFrame

noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
with live_output(sys.argv[1]).opened(layout(noise)) as writer:
    print("serving", flush=True)
    for n in range(150):
        writer.write(noise, TimedFrame(noise, n, None, n / 30))
        time.sleep(1 / 30)
print("done")
"""


@pytest.mark.extended
@pytest.mark.processes
def test_frames_that_come_faster_than_they_are_encoded_do_not_block(
    serve: Callable[..., Server],
) -> None:
    port = free_port()
    served = subprocess.Popen(
        [sys.executable, "-c", LARGE_SCRIPT, f"rtsp://@127.0.0.1:{port}/eyes"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    assert served.stdout.readline() == "serving\n"
    assert len(watch(port, 5)) == 5
    said, errors = finished(served)
    assert said == "done\n", errors


CSI_SCRIPT = f"""
import sys
sys.path.append({SYSTEM_PACKAGES!r})
from mggr_edge.errors import StreamError
from mggr_edge.media.live import csi
from mggr_edge.media.live.address import live_address
from mggr_edge.media.live.address import CameraFormat

try:
    csi.CsiCapture(live_address("csi://0"), CameraFormat())
except StreamError as error:
    print(error.code, error.fields["address"], error.fields["reason"])
csi._SOURCE = "filesrc location=/no/such/file ! decodebin ! videoconvert"
try:
    csi.CsiCapture(live_address("csi://0"), CameraFormat())
except StreamError as error:
    print(error.code, error.fields["address"], error.fields["reason"])
csi._SOURCE = (
    "videotestsrc pattern=smpte num-buffers=3 is-live=true ! video/x-raw,{{caps}} ! videoconvert"
)
camera = csi.CsiCapture(live_address("csi://0"), CameraFormat(322, 240, 25))
frames, times_s = [], []
for _ in range(3):
    frames.append(camera.read())
    times_s.append(camera.stream_time_s)
assert [round(b - a, 3) for a, b in zip(times_s, times_s[1:])] == [0.04, 0.04], times_s
print(*{{frame.shape for frame in frames}}, *frames[0][80, 12::46].ravel())
csi._SILENT_NS = 10**8
try:
    camera.read()
except StreamError as error:
    print(error.code, error.fields["address"], error.fields["reason"])
camera.close()
"""


@pytest.mark.processes
def test_a_csi_camera_by_another_source_in_its_place(serve: Callable[..., Server]) -> None:
    seen = subprocess.run(
        [sys.executable, "-c", CSI_SCRIPT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    missing, failed, picture, silent = seen.stdout.splitlines()
    assert missing.startswith("csi-pipeline-invalid csi://0 no element")
    assert failed.startswith("csi-open-failed csi://0 "), "the state change fails at once"
    assert picture.startswith("(240, 322, 3) ")  # rows of 966 bytes, padded to 968
    colours = np.array(picture.split(") ")[1].split(), int).reshape(-1, 3)
    # Three quarters of full: white, yellow, cyan, green, magenta, red, blue.
    bars = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]
    assert ((colours > 120) == np.array(bars, bool)).all()
    assert silent == "csi-connection-lost csi://0 the stream has ended"


def test_addresses_that_are_served() -> None:
    assert live_output("rtsp://@:8554/eyes") == RtspStream(Served("0.0.0.0", 8554, "eyes"))
    assert live_output("rtsp://@127.0.0.1:99/a/b") == RtspStream(Served("127.0.0.1", 99, "a/b"))
    guarded = live_output("rtsp://me%40home:p%3Aw@:8554/eyes")
    assert guarded == RtspStream(Served("0.0.0.0", 8554, "eyes", "me@home", "p:w"))
    assert "p:w" not in repr(guarded)
    assert guarded.name == "rtsp://0.0.0.0:8554/eyes"
    with refusal(UsageError, "output-not-valid"):
        live_output("rtsp://me@:8554/eyes")  # a user without a password


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize("secret", ["", "me:wrong@", "you:secret@"])
def test_a_stream_with_a_password_is_served_only_with_it(
    serve: Callable[..., Server], secret: str
) -> None:
    port = free_port()
    served = redirecting(serve(0).url, port, secret="me:secret")
    try:
        assert served.stdout is not None
        assert served.stdout.readline() == "frame\n"
        with pytest.raises(av.error.HTTPUnauthorizedError):
            watch(port, 1, secret=secret)
        assert shows_bars(255 - watch(port, 5, secret="me:secret@")[-1])
    finally:
        served.send_signal(signal.SIGTERM)
        said, errors = finished(served)
    assert served.returncode == 0, errors
    assert "secret" not in said + errors


def test_a_folder_of_the_name_of_the_bindings_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python imports any folder `gi` of the working directory as an empty package."""
    monkeypatch.setitem(sys.modules, "gi", ModuleType("gi"))
    with refusal(StreamError, "gstreamer-unavailable", serving=False):
        import_gstreamer()


def test_missing_bindings_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with refusal(StreamError, "gstreamer-unavailable") as caught:
        import_gstreamer()
    assert f"apt install {caught.value.fields['packages']}" in str(caught.value)
    assert str(caught.value.fields["packages"]).startswith("python3-gi gir1")


AT_ONCE = f"""
import sys
sys.path.append({SYSTEM_PACKAGES!r})
import numpy as np
from mggr_edge.common.addresses import Served
from mggr_edge.media.live.rtsp_server import open_rtsp_server
from mggr_edge.runs.live_run import layout_of_live as layout

for _ in range(50):
    address = Served("127.0.0.1", int(sys.argv[1]), "eyes")
    with open_rtsp_server(address, layout(np.zeros((16, 16, 3)))):
        pass
print("ended")
"""


@pytest.mark.processes
def test_a_server_ends_that_has_hardly_begun(serve: Callable[..., Server]) -> None:
    """An end that comes before the server's loop runs is not lost."""
    ended = subprocess.run(
        [sys.executable, "-c", AT_ONCE, str(free_port())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout == "ended\n", ended.stderr


VANISHING = f"""
import dataclasses, re, socket, sys, time
sys.path.append({SYSTEM_PACKAGES!r})
import numpy as np
from mggr_edge.common.addresses import Served
from mggr_edge.media.live import rtsp_server
from mggr_edge.runs.live_run import layout_of_live as layout

gstreamer, servers = rtsp_server.import_gstreamer(serving=True), []


class Library:
    def __getattr__(self, name):
        return getattr(gstreamer.rtsp, name)

    def RTSPServer(self):
        servers.append(gstreamer.rtsp.RTSPServer())
        servers[0].connect("client-connected", lambda server, client: client.connect(
            "new-session", lambda client, session: session.set_timeout(1)))
        return servers[0]


rtsp_server.import_gstreamer = lambda serving: dataclasses.replace(gstreamer, rtsp=Library())
rgb = np.zeros((240, 320, 3), np.uint8)
port, url = int(sys.argv[1]), f"rtsp://127.0.0.1:{{sys.argv[1]}}/eyes"
with rtsp_server.open_rtsp_server(Served("127.0.0.1", port, "eyes"), layout(rgb)) as writer:
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)

    def ask(number, method, where, header):
        request = f"{{method}} {{where}} RTSP/1.0\\r\\nCSeq: {{number}}\\r\\n{{header}}\\r\\n\\r\\n"
        client.sendall(request.encode())
        answer, end = b"", b"a=control:s" if method == "DESCRIBE" else b"\\r\\n\\r\\n"
        while end not in answer:
            writer.write(rgb, None)
            time.sleep(0.04)
            try:
                answer += client.recv(65536)
            except BlockingIOError:
                pass
        return answer.decode()

    track = re.findall(r"a=control:(\\S+)", ask(1, "DESCRIBE", url, "Accept: application/sdp"))[-1]
    ports = "Transport: RTP/AVP;unicast;client_port=50000-50001"
    session = re.search(r"Session: *([^;\\s]+)", ask(2, "SETUP", f"{{url}}/{{track}}", ports))[1]
    ask(3, "PLAY", url, f"Session: {{session}}")
    pool = servers[0].get_session_pool()
    print(pool.get_n_sessions(), flush=True)
    while pool.get_n_sessions():  # the connection stays open, as that of a host without network
        writer.write(rgb, None)
        time.sleep(0.04)
print("forgotten")
"""


@pytest.mark.slow
@pytest.mark.processes
def test_a_client_without_network_is_forgotten(serve: Callable[..., Server]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", VANISHING, str(free_port())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stdout == "1\nforgotten\n", ended.stderr
