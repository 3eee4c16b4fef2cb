"""Where live frames come from and go to, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mggr_edge.common.addresses import INPUT_FORMS, OUTPUT_FORMS
from mggr_edge.errors import OutputExistsError, UsageError
from mggr_edge.media.files.paths import find_source
from mggr_edge.media.live.address import LiveAddress, live_address
from mggr_edge.media.live.recordings import Recording
from mggr_edge.media.live.sinks import NullOutput, VirtualCamera, live_output
from refusals import refusal

av = pytest.importorskip("av")


@pytest.mark.parametrize(
    ("text", "scheme", "place"),
    [
        ("/dev/video0", "v4l2", "/dev/video0"),
        ("v4l2:///dev/v4l/by-id/cam", "v4l2", "/dev/v4l/by-id/cam"),
        ("csi://1", "csi", "1"),
        ("rtsp://host:8554/live", "rtsp", "rtsp://host:8554/live"),
    ],
)
def test_live_addresses(text: str, scheme: str, place: str) -> None:
    assert live_address(text) == LiveAddress(scheme, place)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["clip.mp4", "file:///tmp/clip.mp4", "a:b.mp4", "dev/video0"])
def test_files_are_no_live_addresses(text: str) -> None:
    assert live_address(text) is None


@pytest.mark.parametrize("text", ["csi://front", "rtsp:///", "http://host/x", "null://"])
def test_other_addresses_are_refused_with_what_would_work(text: str) -> None:
    with refusal(UsageError, "input-not-valid", address=text) as caught:
        live_address(text)
    assert INPUT_FORMS in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://me:secret@host/x",
        "rtsps://me:secret@host",
        "http://me:se/cr#et?secret@host/a",
        "rtsp://host/live?user=admin&password=secret",
        "rtsp://[::1/a?a=secret",
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    for refuse in (live_output, find_source):
        with pytest.raises(UsageError) as caught:
            refuse(text)
        assert "secret" not in f"{caught.value} {caught.value.fields}"
    assert "secret" not in str(LiveAddress("rtsp", text))
    if not text.startswith(("rtsp://me", "rtsps://me")) and "host/live" not in text:
        with pytest.raises(UsageError) as caught:
            live_address(text)
        assert "secret" not in f"{caught.value} {caught.value.fields}"


def test_a_password_is_not_shown() -> None:
    address = live_address("rtsp://me:secret@host:8554/live?a=1")
    assert address is not None
    assert "secret" in address.place
    assert str(address) == "rtsp://me:...@host:8554/live?a=..."


def test_outputs_are_videos_virtual_cameras_or_nothing(tmp_path: Path) -> None:
    assert live_output("null://") == NullOutput()
    assert live_output(str(tmp_path / "a.mkv")) == Recording(tmp_path / "a.mkv")
    assert live_output(f"file://{tmp_path}/a.mp4", comment="c") == Recording(
        tmp_path / "a.mp4", "c"
    )
    assert live_output("v4l2loopback:///dev/video10") == VirtualCamera("/dev/video10")
    served = ("rtsp://host:8554/x.mp4", "rtsp://@:99999/x", "rtsp://@:0/x")
    refused = {
        None: "live-output-missing",
        **dict.fromkeys(("a.jpg", "folder", "a.mp4/"), "live-output-not-valid"),
        **dict.fromkeys((*served, "v4l2loopback://10"), "output-not-valid"),
    }
    for output, code in refused.items():
        with refusal(UsageError, code) as caught:
            live_output(output, force=True)
        assert caught.value.fields.get("address") == output
        assert OUTPUT_FORMS in str(caught.value)
    (tmp_path / "a.mp4").write_bytes(b"theirs")
    with pytest.raises(OutputExistsError):
        live_output(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize("segment_s", [None, 60.0])
def test_a_folder_that_does_not_exist_is_refused_before_the_source_is_opened(
    tmp_path: Path, segment_s: float | None
) -> None:
    with refusal(UsageError, "output-folder-missing", folder=tmp_path / "gone"):
        live_output(str(tmp_path / "gone" / "a.mp4"), segment_s=segment_s)


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
@pytest.mark.parametrize("host", ["camera", "[::1]", "me:secret:12@camera"])
def test_a_port_that_does_not_exist_is_refused(host: str, port: str) -> None:
    with refusal(UsageError, "port-out-of-range", port=int(port)) as caught:
        live_address(f"rtsp://{host}:{port}/live")
    assert "secret" not in f"{caught.value} {caught.value.fields}"


@pytest.mark.parametrize("rest", ["camera/a:0", "[::1]/live", "me:0@camera/x", "camera:554?a=:0"])
def test_only_a_port_is_taken_for_one(rest: str) -> None:
    assert live_address(f"rtsp://{rest}") is not None
