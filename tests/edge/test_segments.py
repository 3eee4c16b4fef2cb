"""Recordings: one file with true times over gaps of any length, or a file for each interval."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.files.colour import colour_of_rgb
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.live.recordings import LiveWriter, Recording, Segments
from mggr_edge.media.live.sinks import LiveOutput, live_output
from mggr_edge.runs.live_run import run_live
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.redirect import redirect

av = pytest.importorskip("av")

from refusals import refusal  # noqa: E402
from scripted_source import CAMERA, Scripted, frames_of, invert  # noqa: E402
from videos_with_audio import video_times, write_video  # noqa: E402

TICKS = 90_000
LAYOUT = VideoLayout(
    (16, 16), Fraction(1, TICKS), Fraction(30), None, colour_of_rgb(16), (), {}, (), None
)
PICTURE = np.full((16, 16, 3), 120, np.uint8)


def write_at(writer: LiveWriter, times_s: list[float]) -> None:
    for time_s in times_s:
        writer.write(PICTURE, TimedFrame(PICTURE, round(time_s * TICKS), None, time_s))


def record(output: LiveOutput, times_s: list[float]) -> None:
    with output.opened(LAYOUT) as writer:
        write_at(writer, times_s)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("gap_s", [20_000.0, 25_000.0, 400_000.0])
def test_frames_after_a_long_gap_keep_their_times(
    tmp_path: Path, suffix: str, gap_s: float
) -> None:
    before, after = [0.0, 1.0, 2.0, 3.0], [gap_s, gap_s + 0.5, gap_s + 3]
    record(Recording(tmp_path / f"a{suffix}"), before + after)
    times = video_times(tmp_path / f"a{suffix}")
    assert times[:4] == pytest.approx(before, abs=1e-3)
    assert times[-3:] == pytest.approx(after, abs=1e-3)
    # Between them MP4 repeats the last frame, because none may last longer than 2^31 ticks.
    assert len(times) - 7 <= gap_s * TICKS / 2**30


@pytest.mark.extended
def test_a_file_ends_with_its_interval_and_the_next_one_begins_at_zero(tmp_path: Path) -> None:
    output = Segments(tmp_path / "a.mp4", every_s=2.0)
    record(output, [0.0, 0.5, 1.5, 2.0, 2.5, 4.5, 5.0, 6.4])
    assert names(tmp_path) == ["a-0001.mp4", "a-0002.mp4", "a-0003.mp4"]
    assert output.files == [tmp_path / name for name in names(tmp_path)]
    assert [video_times(path) for path in output.files] == [
        [0.0, 0.5, 1.5],
        [0.0, 0.5],
        [0.0, 0.5, 1.9],
    ]
    with av.open(str(output.files[0])) as container:
        (*_, last) = [p for p in container.demux(video=0) if p.pts is not None]
        assert (last.pts + last.duration) * last.time_base == 2  # until the next file begins
    assert output.name == f"{tmp_path / 'a-0001.mp4'}, a-0002.mp4, a-0003.mp4"


@pytest.mark.extended
def test_a_gap_ends_a_file_though_no_frame_comes(tmp_path: Path) -> None:
    now_s = [100.0]
    output = Segments(tmp_path / "a.mkv", every_s=60.0, clock=lambda: now_s[0])
    with output.opened(LAYOUT) as writer:
        write_at(writer, [0.0, 1.0, 3.0])
        now_s[0] += 59.0
        writer.idle()
        assert output.files == []
        now_s[0] += 2.0
        writer.idle()
        assert names(tmp_path) == ["a-0001.mkv"]  # hours before the camera is back
        write_at(writer, [25_000.0, 25_001.0])
    assert [video_times(path) for path in output.files] == [[0.0, 1.0, 3.0], [0.0, 1.0]]


def test_numbers_follow_existing_files_and_nothing_is_replaced(tmp_path: Path) -> None:
    for name in ("a.mp4", "a-0007.mp4", "a-0009.mkv", "b-0012.mp4"):
        (tmp_path / name).write_bytes(b"old")
    output = Segments(tmp_path / "a.mp4", every_s=1.0)
    record(output, [0.0, 1.0])
    assert [path.name for path in output.files] == ["a-0008.mp4", "a-0009.mp4"]
    assert (tmp_path / "a-0007.mp4").read_bytes() == b"old"


def test_with_force_numbers_begin_at_one(tmp_path: Path) -> None:
    (tmp_path / "a-0001.mp4").write_bytes(b"old")
    output = Segments(tmp_path / "a.mp4", every_s=1.0, force=True)
    record(output, [0.0, 1.0])
    assert [path.name for path in output.files] == ["a-0001.mp4", "a-0002.mp4"]
    assert video_times(tmp_path / "a-0001.mp4") == [0.0]


def test_a_name_that_is_taken_meanwhile_is_kept_and_the_recording_goes_on(tmp_path: Path) -> None:
    output = Segments(tmp_path / "a.mp4", every_s=1.0)
    with output.opened(LAYOUT) as writer:
        write_at(writer, [0.0])
        (tmp_path / "a-0001.mp4").write_bytes(b"another's")
        write_at(writer, [1.0])
    assert [path.name for path in output.files] == ["a-0001-2.mp4", "a-0002.mp4"]
    assert (tmp_path / "a-0001.mp4").read_bytes() == b"another's"


def test_an_error_keeps_the_files_before_it_and_what_is_whole_of_the_last(tmp_path: Path) -> None:
    output = Segments(tmp_path / "a.mp4", every_s=10.0)

    def fail() -> None:
        with output.opened(LAYOUT) as writer:
            write_at(writer, [0.5 * i for i in range(40)])
            raise StreamError("the disk is full")

    with pytest.raises(StreamError, match="the disk is full"):
        fail()
    assert names(tmp_path) == ["a-0001.mp4", "a-0002.mp4"]
    assert len(video_times(tmp_path / "a-0001.mp4")) == 20
    assert len(video_times(tmp_path / "a-0002.mp4")) >= 4  # its first fragment of two seconds


@pytest.mark.extended
def test_a_live_source_is_recorded_in_segments_until_a_signal(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    scripted(Scripted(frames=100_000, pause_s=0.02))
    output = Segments(tmp_path / "a.mp4", every_s=0.3)

    def stopped_in_the_third(frame, /, *, time_s=None):
        if len(output.files) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return invert(frame, time_s=time_s)

    summary = run_live(CAMERA, output, process=stopped_in_the_third)
    assert len(summary.segments) >= 2
    assert summary.segments == tuple(tmp_path / name for name in names(tmp_path))
    assert sum(len(frames_of(path)) for path in summary.segments) == summary.frames > 0
    for path in summary.segments:
        times = video_times(path)
        assert times[0] == 0.0
        assert times[-1] < 0.3
    assert str(summary.segments[0]) in summary.in_words()


@pytest.mark.parametrize("output", ["null://", "display://0", "rtsp://@:8554/a", None])
def test_only_files_are_segmented(output: str | None) -> None:
    with refusal(UsageError, "segment-without-video-file", address=output or "none"):
        live_output(output, segment_s=60.0)


def test_only_live_sources_are_segmented(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=2)
    for output, code in (
        (str(tmp_path / "b.mp4"), "segment-for-file"),
        ("display://0", "segment-without-video-file"),
        (None, "segment-for-file"),
    ):
        with refusal(UsageError, code):
            redirect(
                str(tmp_path / "a.mp4"),
                output,
                RunOptions(segment_minutes=1.0),
                progress=no_progress,
                notify=print,
            )
    assert names(tmp_path) == ["a.mp4"]


def test_the_named_file_itself_may_exist(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"old")
    output = live_output(str(tmp_path / "a.mp4"), segment_s=60.0)
    assert isinstance(output, Segments)
    assert (output.path, output.every_s) == (tmp_path / "a.mp4", 60.0)
