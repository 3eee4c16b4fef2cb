"""Live sources, recorded: a script or a film in a camera's place."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import BundleError, DiskError, StreamError, UsageError
from mggr_edge.media.files.colour import colour_of_rgb
from mggr_edge.media.files.paths import NOWHERE
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.live.address import FLIPS, CameraFormat, Flip, LiveAddress, flipped
from mggr_edge.media.live.cameras import CameraCapture
from mggr_edge.media.live.recordings import Recording
from mggr_edge.media.live.rtsp_client import RtspCapture
from mggr_edge.media.live.sinks import NullOutput
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import checksum_lines, read_bundle_files
from mggr_edge.models.installed import bundle_path
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.live_run import run_live
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.redirect import redirect

av = pytest.importorskip("av")

from refusals import check_error, refusal  # noqa: E402
from scripted_source import CAMERA, Scripted, frames_of, invert  # noqa: E402


@pytest.mark.parametrize("error", [None, StreamError("/dev/video0 is lost")])
def test_a_recording_is_whole_however_its_source_ends(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted], error: StreamError | None
) -> None:
    source = scripted(Scripted(frames=12, error=error, pause_s=0.02))
    summary = run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert source.closed
    assert summary.lost == (None if error is None else str(error))
    assert summary.frames + summary.dropped == 12
    shown = frames_of(tmp_path / "a.mp4")
    assert len(shown) == summary.frames
    assert [round(255 - frame.mean()) for frame in shown] == pytest.approx(
        range(13 - len(shown), 13), abs=3 + summary.dropped
    )
    assert f"{summary.dropped} frames dropped" in summary.in_words() or summary.dropped == 1


def test_a_source_without_any_frame_leaves_nothing(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    scripted(Scripted(frames=0, pause_s=0.01))
    with refusal(StreamError, "source-without-frames", address="/dev/video0"):
        run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    lost = StreamError("it is lost", code="camera-lost", address="/dev/video0")
    scripted(Scripted(frames=0, error=lost, pause_s=0.01))
    with refusal(StreamError, "camera-lost", address="/dev/video0"):
        run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("frames", [0, 120])
def test_what_breaks_off_is_kept_if_a_picture_is_in_it(
    tmp_path: Path, suffix: str, frames: int
) -> None:
    layout = VideoLayout(
        (48, 64), Fraction(1, 30), Fraction(30), None, colour_of_rgb(48), (), {}, (), None
    )

    def record() -> None:
        with Recording(tmp_path / f"a{suffix}").opened(layout) as writer:
            for number in range(frames):
                picture = np.full((48, 64, 3), number, np.uint8)
                writer.write(picture, TimedFrame(picture, number, None, number / 30))
            raise StreamError("the disk is full")

    with pytest.raises(StreamError) as raised:
        record()
    is_kept = frames > 0
    if is_kept:
        path = tmp_path / f"a{suffix}"
        check_error(raised.value, "recording-incomplete", path=path, reason="the disk is full")
    else:
        assert str(raised.value) == "the disk is full"
    assert [path.name for path in tmp_path.iterdir()] == ([f"a{suffix}"] if is_kept else [])


def test_a_bundle_that_cannot_be_run_is_told_before_the_first_frame(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted], bundle: Bundle
) -> None:
    """Its checksums are right: an estimator lies in the redirector's place."""
    place, source = tmp_path / "bundle", scripted(Scripted(frames=3, pause_s=0.01))
    files = read_bundle_files(bundle_path("default"))
    facts = json.loads(files["contract.json"])
    facts["models"]["redirector"] = facts["models"]["estimator"]
    del files["models/redirector.tflite"]
    files["contract.json"] = json.dumps(facts).encode()
    files["SHA256SUMS"] = checksum_lines(files).encode()
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    options = RunOptions(model=str(place))
    with refusal(BundleError, "model-inputs-wrong", model="redirector"):
        redirect(CAMERA.place, NOWHERE, options, progress=no_progress, notify=print)
    assert source.given == 0


def test_a_source_that_changes_its_size_goes_on_in_the_size_of_its_first_frame(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    class Growing(Scripted):
        def read(self) -> NDArray[np.uint8] | None:
            frame = super().read()
            return frame if frame is None or self.given < 6 else np.tile(frame, (2, 1, 1))

    scripted(Growing(frames=9, pause_s=0.02))
    summary = run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert summary.lost is None
    assert summary.frames + summary.dropped == 9
    shown = frames_of(tmp_path / "a.mp4")
    assert len(shown) == summary.frames
    assert all(frame.shape == (16, 16, 3) for frame in shown)
    # Twice as high as wide: in the middle, between black.
    narrow = [frame for frame in shown if frame[:, :2].mean() < 60]
    assert len(narrow) == summary.refitted > 0
    assert min(frame[:, 6:10].mean() for frame in narrow) > 200


def test_a_file_that_comes_into_being_meanwhile_stays_and_so_does_the_recording(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    def take_its_name(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        (tmp_path / "a.mp4").write_bytes(b"somebody else's")
        return FrameResult(frame, ())

    scripted(Scripted(frames=9, pause_s=0.02))
    path, saved_as = tmp_path / "a.mp4", tmp_path / "a-2.mp4"
    with refusal(StreamError, "recording-path-taken", path=path, saved_as=saved_as):
        run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=take_its_name)
    assert (tmp_path / "a.mp4").read_bytes() == b"somebody else's"
    assert len(frames_of(tmp_path / "a-2.mp4")) >= 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.mp4", "a.mp4"]


def test_a_camera_is_read_as_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A film in the camera's place: OpenCV reads either.
    film = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(3):
        film.write(np.full((48, 64, 3), (200, 30, 10), np.uint8))  # BGR
    film.release()
    monkeypatch.setattr(cv2, "CAP_V4L2", cv2.CAP_ANY)
    camera = CameraCapture(LiveAddress("v4l2", str(tmp_path / "a.avi")), CameraFormat(width=64))
    for _ in range(3):
        frame = camera.read()
        assert frame is not None
        assert np.abs(frame.mean(axis=(0, 1)) - (10, 30, 200)).max() < 8
    with refusal(StreamError, "camera-connection-lost", address=tmp_path / "a.avi"):
        camera.read()
    camera.close()
    (tmp_path / "busy").write_bytes(b"no camera")
    for name, code in (("busy", "camera-open-failed"), ("gone", "camera-not-found")):
        with refusal(StreamError, code, address=tmp_path / name):
            CameraCapture(LiveAddress("v4l2", str(tmp_path / name)), CameraFormat())


def test_an_error_is_raised_when_the_recording_is_whole(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    def fail(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        if frame[0, 0, 0] >= 5:
            raise DiskError("the disk takes no more lines")
        return FrameResult(frame, ())

    scripted(Scripted(frames=9, pause_s=0.03))
    with pytest.raises(DiskError, match="no more lines"):
        run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=fail)
    assert 1 <= len(frames_of(tmp_path / "a.mp4")) <= 4


def test_stopping_before_the_first_frame_is_no_error(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    scripted(Scripted(frames=3, pause_s=1.0))
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    summary = run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert (summary.frames, summary.output, summary.lost) == (0, None, None)
    (note,) = summary.notes
    assert note.startswith("stopped")
    assert summary.in_words().endswith(note)
    assert list(tmp_path.iterdir()) == []


def test_what_arrives_damaged_is_left_out(tmp_path: Path) -> None:
    # A transport stream in the server's place, joined in the middle and with damage in it.
    path = tmp_path / "a.ts"
    with closing(av.open(str(path), "w")) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(60):
            noise = rng.integers(0, 255, (96, 128, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())[188 * 100 :]
    middle = len(content) // 2 // 188 * 188
    content[middle + 20 : middle + 180] = bytes(160)
    path.write_bytes(content)
    with closing(RtspCapture(LiveAddress("rtsp", str(path)))) as capture:
        frames = 0
        while capture.read() is not None:
            frames += 1
    assert 20 < frames < 58


@pytest.mark.parametrize("flip", FLIPS)
def test_pictures_are_turned_clockwise_and_mirrored(flip: Flip) -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    expected = {
        "none": picture,
        "rotate-90": np.rot90(picture, -1),
        "rotate-180": picture[::-1, ::-1],
        "rotate-270": np.rot90(picture),
        "horizontal": picture[:, ::-1],
        "vertical": picture[::-1],
    }[flip]
    np.testing.assert_array_equal(flipped(picture, flip), expected)


def test_a_turned_source_is_recorded_turned(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    class Wide(Scripted):
        def read(self) -> NDArray[np.uint8] | None:
            frame = super().read()
            return frame if frame is None else np.tile(frame, (1, 2, 1))

    scripted(Wide(frames=4, pause_s=0.02))
    file = Recording(tmp_path / "a.mp4")
    run_live(CAMERA, file, process=invert, camera_format=CameraFormat(flip="rotate-90"))
    assert all(frame.shape == (32, 16, 3) for frame in frames_of(tmp_path / "a.mp4"))


def test_an_rtsp_stream_is_not_asked_for_a_size() -> None:
    with refusal(UsageError, "camera-options-for-stream", address="rtsp://host/a"):
        run_live(
            LiveAddress("rtsp", "rtsp://host/a"),
            NullOutput(),
            process=invert,
            camera_format=CameraFormat(width=640),
        )
