"""The interface for host programs: formats, buffers, landmarks of the host, sources and sinks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import mggr_edge
from mggr_edge import Bundle, Gaze, Redirector, UsageError, open_sink, open_source
from mggr_edge.pipeline.compositing import Region
from mggr_edge.pipeline.frame_formats import (
    COLORS,
    Color,
    check_frame,
    rgb_of,
    size_of,
    write_pixels,
)
from refusals import refusal

TARGET = Gaze(-8, 14)


def host_frame(rgb: NDArray[np.uint8], color: Color) -> NDArray[np.uint8]:
    """The picture in the format of a host program, converted by OpenCV alone."""
    if color == "rgb":
        return rgb.copy()
    if color == "bgr":
        return np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if color == "gray":
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    height, width = rgb.shape[:2]
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    return np.concatenate([planes[:height], chroma.transpose(1, 2, 0).reshape(height // 2, width)])


@pytest.fixture
def even(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = portrait.shape[:2]
    return np.ascontiguousarray(portrait[: height // 2 * 2, : width // 2 * 2])


@pytest.mark.parametrize("color", COLORS)
def test_only_the_pixels_of_eyes_change_in_every_format(
    bundle: Bundle, even: NDArray[np.uint8], color: Color
) -> None:
    redirector = Redirector(bundle, target=TARGET)
    frame = host_frame(even, color)
    before = frame.copy()
    result = redirector.redirect_image(frame, color=color)
    np.testing.assert_array_equal(frame, before)
    assert (result.frame.shape, result.frame.dtype, result.color) == (frame.shape, np.uint8, color)
    mask = result.mask()
    assert mask.shape == size_of(frame, color) == even.shape[:2]
    assert mask.any()
    # The reference is the redirection of the RGB version of the same frame.
    seen = rgb_of(frame, color)
    expected = redirector.process(seen)
    np.testing.assert_array_equal(mask, expected.mask())
    if color == "nv12":
        luma, before_luma = result.frame[: even.shape[0]], frame[: even.shape[0]]
        np.testing.assert_array_equal(luma[~mask], before_luma[~mask])
        blocks = mask.reshape(mask.shape[0] // 2, 2, mask.shape[1] // 2, 2).any(axis=(1, 3))
        chroma = result.frame[even.shape[0] :].reshape(*blocks.shape, 2)
        chroma_before = frame[even.shape[0] :].reshape(*blocks.shape, 2)
        np.testing.assert_array_equal(chroma[~blocks], chroma_before[~blocks])
    else:
        np.testing.assert_array_equal(result.frame[~mask], frame[~mask])
    exact = {"rgb": expected.frame, "bgr": expected.frame[..., ::-1]}
    if color in exact:
        np.testing.assert_array_equal(result.frame, exact[color])
    else:
        # Two conversions of 8-bit values; subsampled colour differs at the borders of the irises.
        apart = np.abs(rgb_of(result.frame, color).astype(int) - expected.frame)[mask]
        if color == "gray":
            grey = cv2.cvtColor(expected.frame, cv2.COLOR_RGB2GRAY)
            assert (result.frame[mask] == grey[mask]).all()
        else:
            assert apart.mean() < 4
    assert (result.frame != frame).any()


@pytest.mark.parametrize("color", COLORS)
def test_a_buffer_of_the_host_is_filled(
    bundle: Bundle, even: NDArray[np.uint8], color: Color
) -> None:
    redirector = Redirector(bundle, target=TARGET)
    frame = host_frame(even, color)
    expected = redirector.redirect_image(frame, color=color).frame
    shape = list(frame.shape)
    # Every second row of a larger array, with a margin on both sides.
    room = np.zeros((2 * shape[0], shape[1] + 10, *shape[2:]), np.uint8)
    out = room[::2, 5:-5]
    result = redirector.redirect_image(frame, color=color, out=out)
    assert result.frame is out
    np.testing.assert_array_equal(out, expected)
    assert not room[1::2].any()
    assert not room[:, :5].any()
    # The frame itself as the buffer, and a strided view as the input.
    room[::2, 5:-5] = frame
    view = room[::2, 5:-5]
    redirector.redirect_image(view, color=color, out=view)
    np.testing.assert_array_equal(view, expected)
    assert not room[1::2].any()


def test_wrong_arrays_are_refused(bundle: Bundle, even: NDArray[np.uint8]) -> None:
    redirector = Redirector(bundle)
    for color, frame in (
        ("rgb", even[..., 0]),
        ("bgr", even.astype(np.float32)),
        ("gray", even),
        ("nv12", np.zeros((33, 21), np.uint8)),
        ("nv12", np.zeros((10, 20), np.uint8)),
        ("rgb", even[:0]),
        ("rgb", even.tolist()),
        ("hsv", even),
    ):
        with pytest.raises(ValueError, match=r"frame is|color is"):
            redirector.redirect_image(frame, color=color)  # type: ignore[arg-type]
    for out in (even[:-1].copy(), even.astype(np.uint16)):
        with pytest.raises(ValueError, match="out is"):
            redirector.redirect_image(even, out=out)
    for points in (np.zeros((100, 3)), np.zeros((468, 2)), np.full((468, 3), np.nan)):
        with pytest.raises(ValueError, match="landmarks"):
            redirector.redirect_image(even, landmarks=[points])
    with pytest.raises(ValueError, match="finite"):
        redirector.redirect_frame(even, float("nan"))
    with pytest.raises(TypeError):
        redirector.redirect_frame(even)  # type: ignore[call-arg]


@pytest.mark.parametrize(("left", "top"), [(0, 0), (3, 5), (17, 8), (16, 6)])
def test_any_region_of_an_nv12_frame_is_written(left: int, top: int) -> None:
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (24, 16))
    frame = host_frame(cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (24, 16)), "nv12")
    region = Region(left, top, min(24, left + 7), min(16, top + 9))
    mask = np.ones((region.bottom - region.top, region.right - region.left), np.float32)
    out = frame.copy()
    write_pixels(out, rgb, mask, region=region, color="nv12")
    expected = host_frame(rgb, "nv12")
    np.testing.assert_array_equal(out[:16][region.slices], expected[:16][region.slices])
    is_in = np.zeros((16, 24), bool)
    is_in[region.slices] = True
    np.testing.assert_array_equal(out[:16][~is_in], frame[:16][~is_in])
    blocks = is_in.reshape(8, 2, 12, 2).any(axis=(1, 3))
    chroma, want, had = (one[16:].reshape(8, 12, 2) for one in (out, expected, frame))
    np.testing.assert_array_equal(chroma[blocks], want[blocks])
    np.testing.assert_array_equal(chroma[~blocks], had[~blocks])


def test_landmarks_of_the_host_replace_the_detection(
    bundle: Bundle, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=TARGET)
    usual = redirector.redirect_image(portrait)
    calls = []
    finder = redirector._finder
    detect = finder._detector.detect
    finder._detector.detect = lambda frame: calls.append(1) or detect(frame)  # type: ignore
    points = usual.faces[0].landmarks
    given = redirector.redirect_image(portrait, landmarks=[points])
    assert calls == []
    np.testing.assert_array_equal(given.frame, usual.frame)
    longer = np.concatenate([points, np.zeros((10, 3))])
    np.testing.assert_array_equal(
        redirector.redirect_image(portrait, landmarks=[longer]).frame, usual.frame
    )
    assert redirector.redirect_image(portrait, landmarks=[]).faces == ()
    for number in range(3):
        result = redirector.redirect_frame(portrait, number / 30, landmarks=[points])
    assert (result.faces[0].identity, calls) == (0, [])


def test_results_become_plain_values(bundle: Bundle, portrait: NDArray[np.uint8]) -> None:
    result = Redirector(bundle, target=TARGET).redirect_image(portrait)
    plain = json.loads(json.dumps(result.to_dict()))
    (face,) = plain["faces"]
    assert [eye["side"] for eye in face["eyes"]] == ["right", "left"]
    assert face["eyes"][0]["target_deg"] == [TARGET.pitch_deg, TARGET.yaw_deg]
    assert plain["failure"] is None


def test_each_thread_has_its_own_session(bundle: Bundle, portrait: NDArray[np.uint8]) -> None:
    expected = Redirector(bundle, target=TARGET).redirect_image(portrait).frame
    start = threading.Barrier(3)

    def work(number: int) -> NDArray[np.uint8]:
        with bundle.session() as session:
            redirector = Redirector(session, target=TARGET)
            start.wait()
            return redirector.redirect_image(portrait).frame

    with ThreadPoolExecutor(3) as pool:
        for frame in pool.map(work, range(3)):
            np.testing.assert_array_equal(frame, expected)


SILENT = """
import os, signal, sys
import numpy as np
handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
from mggr_edge import Bundle, Redirector, open_sink, open_source
with Bundle.open("default") as bundle:
    redirector = Redirector(bundle)
    redirector.redirect_image(np.zeros((60, 80), np.uint8), color="gray")
    with open_source(sys.argv[1]) as source, open_sink("null://", source=source) as sink:
        for frame in source:
            sink.write(redirector.redirect_frame(frame.rgb, frame.time_s), frame)
assert {number: signal.getsignal(number) for number in handlers} == handlers
"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    av = pytest.importorskip("av")
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            picture = np.full((48, 64, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.processes
def test_library_code_is_silent_and_changes_no_signal(bundle: Bundle, clip: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(clip)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Brighter:
    """A redirector for a test: it changes every pixel."""

    def __call__(self, rgb: NDArray[np.uint8]) -> mggr_edge.FrameResult:
        return mggr_edge.FrameResult(rgb + np.uint8(10), ())


def test_a_video_is_read_and_written(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    times = []
    with open_source(clip) as source, open_sink(out, source=source) as sink:
        assert not out.exists()
        for frame in source:
            times.append(frame.time_s)
            sink.write(Brighter()(frame.rgb), frame)
    assert times == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    with open_source(str(out)) as written:
        found = [(frame.time_s, int(frame.rgb.mean())) for frame in written]
    assert [time_s for time_s, _ in found] == pytest.approx(times)
    assert [value for _, value in found] == pytest.approx([10, 50, 90, 130, 170], abs=3)
    with refusal(mggr_edge.OutputExistsError, "output-exists"), open_sink(out):
        pass


def test_an_error_leaves_no_file(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"

    def fail_after_a_frame() -> None:
        with open_source(clip) as source, open_sink(out, source=source) as sink:
            frame = next(source)
            sink.write(Brighter()(frame.rgb), frame)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_a_frame()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4"]


def test_frames_without_a_source_are_recorded(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    with open_source(clip) as source, open_sink(out) as sink:
        for frame in source:
            sink.write(Brighter()(frame.rgb), frame)
    with open_source(out) as written:
        assert len(list(written)) == 5


def test_a_picture_is_not_a_stream(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with (
        refusal(UsageError, "source-not-a-stream", found="picture"),
        open_source(tmp_path / "a.png"),
    ):
        pass


def test_public_names_can_be_imported() -> None:
    assert set(mggr_edge._PUBLIC) | {"__version__"} == set(mggr_edge.__all__)
    for name in mggr_edge.__all__:
        assert getattr(mggr_edge, name) is not None
    check_frame(np.zeros((2, 2, 3), np.uint8), "rgb")
