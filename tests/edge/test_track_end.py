"""The frame that is shown last keeps its duration, with B-frames and uneven steps, too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.media.files.video_reader import TimedFrame, open_video
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run

av = pytest.importorskip("av")

from videos_with_audio import moving_bars  # noqa: E402

TICK = Fraction(1, 600)
TIMES = [0, 24, 48, 49, 50, 200, 230, 231, 600, 640, 700, 720, 731]


def uneven(path: Path, *, frames: int, last: int, b_frames: int, muxer: dict[str, str]) -> int:
    """Writes frames at `TIMES`, the last one for `last` ticks; returns when it is decoded.

    0 stands for the last packet, 1 for the one before it.
    """
    times = TIMES[:frames]
    lengths = dict(zip(times, [*np.diff(times), last], strict=True))
    options = {"bf": str(b_frames), "x264-params": "b-adapt=0:b-pyramid=none:scenecut=0"}
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = TICK
        packets = []
        for index, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(moving_bars(index), "rgb24")
            frame.pts, frame.time_base = pts, TICK
            packets += stream.encode(frame)
        packets += stream.encode()
        order = [packet.pts for packet in packets]
        for packet in packets:
            packet.duration = int(lengths[packet.pts])
            container.mux(packet)
    return len(order) - 1 - order.index(times[-1])


def last_frame(path: Path) -> TimedFrame:
    with open_video(path) as video:
        return [item for item in video.items if isinstance(item, TimedFrame)][-1]


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(("frames", "b_frames"), [(13, 0), (13, 2), (12, 2), (11, 2), (10, 3)])
def test_the_last_frame_keeps_its_duration(
    tmp_path: Path, suffix: str, frames: int, b_frames: int
) -> None:
    muxer = {} if suffix == ".mkv" else {"video_track_timescale": "600"}
    source, last = tmp_path / f"in{suffix}", 300
    uneven(source, frames=frames, last=last, b_frames=b_frames, muxer=muxer)
    end_s = float((TIMES[frames - 1] + last) * TICK)
    with open_video(source) as video:
        ticks = video.layout.time_base
        read = [item for item in video.items if isinstance(item, TimedFrame)][-1]
    assert read.duration is not None
    assert (read.pts + read.duration) * ticks == pytest.approx(end_s, abs=2e-3)
    for after in (".mp4", ".mkv"):
        run(source, tmp_path / f"out{after}", process=invert, force=True)
        with open_video(tmp_path / f"out{after}") as video:
            ticks = video.layout.time_base
            kept = [item for item in video.items if isinstance(item, TimedFrame)][-1]
        assert kept.duration is not None
        assert (kept.pts + kept.duration) * ticks == pytest.approx(end_s, abs=3e-3)


@pytest.mark.extended
def test_an_mp4_file_in_milliseconds_states_its_end_in_ticks_of_the_video(tmp_path: Path) -> None:
    path, tick = tmp_path / "a.mp4", Fraction(1001, 30_000)
    with av.open(str(path), "w") as container:
        options = {"bf": "2", "x264-params": "b-adapt=0:b-pyramid=none:scenecut=0"}
        stream = container.add_stream("libx264", rate=1 / tick, options=options)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        packets = []
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(moving_bars(index), "rgb24")
            frame.pts, frame.time_base = index, tick
            packets += stream.encode(frame)
        packets += stream.encode()
        shown_before = [packet.pts for packet in packets[:-1]]
        for packet in packets:
            container.mux(packet)
    assert 11 in shown_before  # the frame that is shown last is not decoded last
    last = last_frame(path)
    assert (last.pts, last.duration) == (11 * 1001, 1001)


def test_some_of_these_videos_show_another_frame_last_than_they_decode(tmp_path: Path) -> None:
    late = [
        uneven(tmp_path / "a.mp4", frames=n, last=300, b_frames=b, muxer={})
        for n, b in [(13, 2), (12, 2), (11, 2), (10, 3)]
    ]
    assert 0 in late
    assert max(late) > 0


@pytest.mark.extended
def test_a_fragmented_file_that_does_not_state_it_has_no_duration_made_up(tmp_path: Path) -> None:
    muxer = {"video_track_timescale": "600", "movflags": "frag_keyframe+empty_moov"}
    for frames in (10, 11, 12, 13):
        late = uneven(tmp_path / "a.mp4", frames=frames, last=300, b_frames=2, muxer=muxer)
        assert last_frame(tmp_path / "a.mp4").duration == (None if late else 300)
