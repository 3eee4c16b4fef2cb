"""A video again and again: every frame, in order, its time going on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from mggr_edge.cli import main
from mggr_edge.errors import UsageError
from mggr_edge.media.files.video_reader import TimedFrame, Video, open_video
from mggr_edge.media.live import file_playback as looped
from mggr_edge.media.live.file_playback import FOR_EVER, VideoFileCapture, open_looped, shown_file
from mggr_edge.media.live.sinks import NullOutput, is_shown
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run
from mggr_edge.runs.live_run import run_live
from refusals import error_of, refusal

av = pytest.importorskip("av")

PTS = [600, 640, 700, 730]
"""A first frame at one second, and uneven steps."""

LEVELS = [40, 80, 120, 160]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four grey frames with sound."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 600)
        sound = container.add_stream("aac", rate=48000)
        for pts, level in zip(PTS, LEVELS, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), "rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 600)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate, silence.pts = 48000, 0
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return path


def same(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(frame, ())


@pytest.mark.extended
def test_a_loop_has_every_frame_in_order_and_its_time_goes_on(clip: Path) -> None:
    with open_looped(clip, 2) as video:
        assert video.layout.frames == 12
        assert video.layout.audio == ()
        frames = list(video.items)
    assert all(isinstance(frame, TimedFrame) for frame in frames)
    levels = [round(float(frame.rgb.mean())) for frame in frames]
    assert np.abs(np.array(levels) - 3 * LEVELS).max() <= 3
    steps = np.diff([frame.time_s for frame in frames]) * 600
    between = [40, 60, 30]
    assert np.round(steps[[0, 1, 2, 4, 5, 6, 8, 9, 10]]).tolist() == 3 * between
    assert (steps > 0).all()
    assert frames[4].pts == frames[3].pts + frames[3].duration


@pytest.mark.slow
def test_for_ever_does_not_end(clip: Path) -> None:
    with open_looped(clip, FOR_EVER) as video:
        assert video.layout.frames is None
        assert len(list(islice(video.items, 50))) == 50


@pytest.mark.extended
def test_a_looped_film_is_shown_until_it_is_stopped(clip: Path) -> None:
    stop, seen = threading.Event(), []

    def count(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        seen.append(time_s)
        if len(seen) == 10:
            stop.set()
        return FrameResult(frame, ())

    film = shown_file(str(clip), loops=FOR_EVER)
    assert run_live(film, NullOutput(), process=count, stop=stop).frames == 10


@pytest.mark.extended
def test_a_film_lets_go_of_its_file_in_a_later_pass_too(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = [], []

    @contextmanager
    def counting(path: Path) -> Iterator[Video]:
        opened.append(path)
        try:
            with open_video(path) as video:
                yield video
        finally:
            closed.append(path)

    monkeypatch.setattr(looped, "open_video", counting)
    film = VideoFileCapture(shown_file(str(clip), loops=FOR_EVER))
    for _ in range(6):
        assert film.read() is not None
    assert len(opened) == 2
    film.close()
    assert closed == opened
    assert film.read() is None


@pytest.mark.extended
def test_every_pass_is_counted(clip: Path) -> None:
    assert run(clip, "null://", process=same, loops=3).frames == 16


def test_only_videos_that_are_not_written_are_looped(clip: Path, tmp_path: Path) -> None:
    with refusal(UsageError, "loop-to-file", path=clip, output=tmp_path / "b.mp4"):
        run(clip, tmp_path / "b.mp4", process=same, loops=1)
    with refusal(UsageError, "loop-for-other-kind", path=tmp_path, found="folder"):
        run(tmp_path, "null://", process=same, loops=1)
    assert list(tmp_path.iterdir()) == [clip]
    refused = CliRunner().invoke(main, ["run", "rtsp://host/a", "null://", "--input-loop", "1"])
    error_of(refused, "loop-for-live-source", address="rtsp://host/a")


def test_what_is_shown_as_it_is_made() -> None:
    shown = ["display://0", "v4l2loopback:///dev/video10", "rtsp://@:8554/eyes"]
    assert all(map(is_shown, shown))
    assert not any(map(is_shown, ["null://", "a.mp4", None]))
