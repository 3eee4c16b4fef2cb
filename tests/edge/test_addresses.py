"""INPUT and OUTPUT as users type them: what each text is parsed as, and which form is suggested."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from mggr_edge.common.address_hints import closest_input, closest_output
from mggr_edge.common.addresses import (
    Address,
    closest_form,
    input_address,
    output_address,
    path_type,
    redact_credentials,
)
from mggr_edge.errors import MggrError, StreamError, UsageError
from mggr_edge.media.files.paths import choose_output, find_source
from refusals import refusal

BY_PATH = "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"


def shown(error: BaseException) -> str:
    """Return all text of an error that a user or a log may show."""
    assert isinstance(error, MggrError)
    return f"{error} {error.fields}"


@pytest.mark.parametrize(
    ("text", "scheme", "place"),
    [
        ("/dev/video7", "v4l2", "/dev/video7"),
        (BY_PATH, "v4l2", BY_PATH),
        (f"v4l2://{BY_PATH}", "v4l2", BY_PATH),
        ("/dev/v4l/by-id/usb-046d_C920-video-index0", "v4l2", None),
        ("V4L2:///dev/video7", "v4l2", "/dev/video7"),
        ("file:///dev/video7", "v4l2", "/dev/video7"),
        ("/dev/front-door", "v4l2", "/dev/front-door"),
        ("CSI://1", "csi", "1"),
        ("RTSP://cam/Live", "rtsp", "rtsp://cam/Live"),
        ("rtsps://cam:322/live", "rtsp", "rtsps://cam:322/live"),
        ("RtspS://me:Se@cam/live", "rtsp", "rtsps://me:Se@cam/live"),
        ("rtsp://[::1]:8554/live", "rtsp", "rtsp://[::1]:8554/live"),
        ("file:///tmp/two%20words.mp4", "file", "/tmp/two words.mp4"),
        ("file:///tmp/100%25.mp4", "file", "/tmp/100%.mp4"),
        ("file:///tmp/100%.mp4", "file", "/tmp/100%.mp4"),
        ("file:///tmp/%FF.mp4", "file", os.fsdecode(b"/tmp/\xff.mp4")),
        ("FILE:///tmp/a.mp4", "file", "/tmp/a.mp4"),
        ("file:/tmp/a.mp4", "file", "/tmp/a.mp4"),
        ("file://localhost/tmp/a.mp4", "file", "/tmp/a.mp4"),
        ("file:///home/localhost/a.mp4", "file", "/home/localhost/a.mp4"),
        ("file://clip.mp4", "file", "clip.mp4"),
        ("/dev/shm/call.mp4", "file", "/dev/shm/call.mp4"),
        ("/tmp/two%20words.mp4", "file", "/tmp/two%20words.mp4"),
        ("a:b.mp4", "file", "a:b.mp4"),
        ("./0", "file", "./0"),
    ],
)
def test_inputs(text: str, scheme: str, place: str | None) -> None:
    assert input_address(text) == Address(scheme, text if place is None else place)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "scheme", "place"),
    [
        ("NULL://", "null", ""),
        ("Display://0", "display", "0"),
        ("display://", "display", ""),
        ("V4L2Loopback:///dev/video10", "v4l2loopback", "/dev/video10"),
        ("RTSP://@:8554/eyes", "rtsp", "@:8554/eyes"),
        ("file:///tmp/two%20words.mp4", "file", "/tmp/two words.mp4"),
        ("/dev/shm/out.mp4", "file", "/dev/shm/out.mp4"),
        ("null", "file", "null"),
    ],
)
def test_outputs(text: str, scheme: str, place: str) -> None:
    assert output_address(text) == Address(scheme, place)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("camera:1", "camera://1"),
        ("video0", "/dev/video0"),
        ("dev/video0", "/dev/video0"),
        ("v4l2://0", "v4l2:///dev/video0"),
        ("v4l2:/dev/video1", "v4l2:///dev/video1"),
        ("v4l2://dev/video1", "v4l2:///dev/video1"),
        ("v4l2://dev/v4l/by-id/cam-index0", "v4l2:///dev/v4l/by-id/cam-index0"),
        ("v4l://video1", "v4l2:///dev/video1"),
        ("csi:1", "csi://1"),
        ("csi0", "csi://0"),
        ("csi://front", "csi://0"),
        ("argus://0", "csi://0"),
        ("rtsp:/cam/live", "rtsp://cam/live"),
        ("rtsp:cam/live", "rtsp://cam/live"),
        ("rtsp//cam/live", "rtsp://cam/live"),
        ("rtsp:///cam/live", "rtsp://cam/live"),
        ("rstp://cam/live", "rtsp://cam/live"),
        ("fiel:///tmp/a.mp4", "file:///tmp/a.mp4"),
        ("http://cam/x", None),
        ("webcam", "camera://0"),
    ],
)
def test_the_closest_input_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, form: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    assert closest_input(text) == form
    with pytest.raises((UsageError, StreamError)) as caught:
        find_source(text)
    assert caught.value.fields["closest"] == form
    message = str(caught.value)
    assert form is None or form in message
    assert "/dev/video0" in message  # whatever was typed, a camera's name is shown
    if form is not None:
        assert input_address(form).scheme in ("camera", "v4l2", "csi", "rtsp", "file")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("null", "null://"),
        ("null:", "null://"),
        ("/dev/null", "null://"),
        ("display", "display://0"),
        ("display:0", "display://0"),
        ("window", "display://0"),
        (":0", "display://0"),
        ("displa://0", "display://0"),
        ("/dev/video10", "v4l2loopback:///dev/video10"),
        ("video10", "v4l2loopback:///dev/video10"),
        ("v4l2:///dev/video10", "v4l2loopback:///dev/video10"),
        ("v4l2loopback:/dev/video10", "v4l2loopback:///dev/video10"),
        ("v4l2loopback://10", "v4l2loopback:///dev/video10"),
        ("rtsp://:8554/eyes", "rtsp://@:8554/eyes"),
        ("rtsp://localhost:9000/eyes", "rtsp://@:9000/eyes"),
        ("rtsp://me:secret@host/eyes", "rtsp://@:8554/eyes"),
        ("rtsp://@:99999/eyes", "rtsp://@:8554/eyes"),
        ("rtsps://@:8554/eyes", "rtsp://@:8554/eyes"),
    ],
)
def test_the_closest_output_is_named(tmp_path: Path, text: str, form: str) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x")
    assert closest_output(text) == form
    assert output_address(form).scheme != "file"
    with pytest.raises(UsageError) as caught:
        choose_output(find_source(tmp_path / "v.mp4"), text, force=False)
    assert caught.value.fields["closest"] == form
    assert form in str(caught.value)
    assert "secret" not in shown(caught.value)


@pytest.mark.parametrize("text", ["", "file://", "-"])
def test_an_empty_input_is_not_the_working_directory(text: str) -> None:
    with refusal(UsageError, "input-is-stdin" if text == "-" else "input-empty"):
        find_source(text)
    with refusal(UsageError, "output-not-valid", address=text):
        output_address(text)


def test_similar_names_of_files_are_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two words.MP4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("two words.mp4", "two%20words.MP4", "tow words.MP4", r"two\ words.MP4"):
        assert closest_input(text) == "two words.MP4"
    assert closest_input("~/two words.MP4") == str(tmp_path / "two words.MP4")
    assert closest_input("nothing-like-it.png") is None


def test_files_in_a_memory_disk_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("no /dev/shm here")
    file = shm / f"mggr-test-{os.getpid()}.mp4"
    try:
        file.write_bytes(b"x")
        source = find_source(str(file))
        assert source.kind == "video"
        assert find_source(f"file://{file}") == source
        output = str(file.with_suffix(".mkv"))
        assert choose_output(source, output, force=False) == Path(output)
    finally:
        file.unlink()


def test_only_video_devices_are_cameras(tmp_path: Path) -> None:
    camera, other = tmp_path / "cam", tmp_path / "mem"
    try:
        os.mknod(camera, stat.S_IFCHR | 0o600, os.makedev(81, 0))
        os.mknod(other, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes device files")
    link = tmp_path / "by-path:0"
    link.symlink_to(camera)
    assert input_address(str(link)) == Address("v4l2", str(link))
    assert input_address(str(other)) == Address("file", str(other))
    with refusal(UsageError, "input-is-device", found="character device"):
        find_source(str(other))
    with refusal(UsageError, "not-a-video-device", path=other, found="character device"):
        input_address(f"v4l2://{other}")
    with refusal(UsageError, "output-is-device", address=camera, found="video device"):
        output_address(str(camera))
    assert output_address(f"v4l2loopback://{link}").scheme == "v4l2loopback"


def test_pipes_sockets_and_devices_are_called_so(tmp_path: Path) -> None:
    pipe, listening = tmp_path / "pipe.mp4", tmp_path / "socket.mp4"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(listening))
        assert [path_type(path) for path in (pipe, listening)] == ["pipe", "socket"]
    (tmp_path / "v.mp4").write_bytes(b"x")
    source = find_source(tmp_path / "v.mp4")
    for path, kind in ((pipe, "pipe"), (listening, "socket"), ("/dev/null", "character device")):
        code = "input-is-pipe" if kind == "pipe" else "input-is-device"
        for named in (str(path), Path(path)):
            with refusal(UsageError, code, found=kind):
                find_source(named)
            with refusal(UsageError, "output-is-device", found=kind):
                choose_output(source, named, force=True)


def test_standard_input_is_called_by_what_it_is() -> None:
    reading, writing = os.pipe()
    try:
        with refusal(UsageError, "input-is-pipe", path=f"/dev/fd/{reading}"):
            find_source(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_with_a_trailing_slash_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x")
    with refusal(UsageError, "output-is-folder", path=tmp_path / "out.mp4"):
        choose_output(find_source(tmp_path / "v.mp4"), f"{tmp_path}/out.mp4/", force=True)


def test_mistyped_addresses_show_no_password() -> None:
    assert redact_credentials("rtsp:me:secret@cam/x") == "rtsp:me:...@cam/x"
    assert redact_credentials("rtsp//me:secret@cam/x") == "rtsp//me:...@cam/x"
    assert redact_credentials("rtsp://@:8554/eyes") == "rtsp://@:8554/eyes"
    with pytest.raises(StreamError) as caught:
        find_source("rtsp:me:secret@cam/x")
    assert "secret" not in shown(caught.value)


@pytest.mark.parametrize(
    "text", [" rtsp://:secret@[::1/x", "rtsp://:secret@:{", "rtsp:/:secret@h/x", "rstp://:secret@h"]
)
def test_a_suggestion_shows_no_password_of_a_user_without_a_name(text: str) -> None:
    with pytest.raises((UsageError, StreamError)) as caught:
        find_source(text)
    assert "secret" not in shown(caught.value)
    for form in (closest_input(text), closest_output(text)):
        assert "secret" not in closest_form(form)
