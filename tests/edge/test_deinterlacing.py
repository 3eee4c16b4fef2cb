"""Interlaced videos come out progressive, frame by frame at the same times, with a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.media.files.video_reader import TimedFrame, open_video
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run

av = pytest.importorskip("av")

from videos_with_audio import write_video  # noqa: E402


def smooth(index: int) -> NDArray[np.uint8]:
    columns = np.arange(128)
    row = (127 + 100 * np.sin((columns - 6 * index) / 9)).astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], 96, axis=0), 3, axis=2)


def two_moments(index: int) -> NDArray[np.uint8]:
    """Odd rows of one moment, even rows of the next one, as x264 flags frames of PyAV."""
    woven = smooth(2 * index)
    woven[::2] = smooth(2 * index + 1)[::2]
    return woven


def interlaced(path: Path, *, frames: int = 8) -> Path:
    return write_video(
        path,
        frames=frames,
        picture=two_moments,
        container_format="mpegts" if path.suffix == ".mts" else None,
        options={"x264-params": "interlaced=1", "crf": "4"},
    )


def combs(rgb: NDArray[np.uint8]) -> float:
    """Mean difference between neighbouring rows, minus that of rows two apart."""
    grey = rgb.astype(float).mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() - np.abs(grey[2:] - grey[:-2]).mean())


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mts", ".mkv"])
def test_interlaced_frames_become_progressive_ones_of_the_first_moment(
    tmp_path: Path, suffix: str
) -> None:
    source = interlaced(tmp_path / f"in{suffix}")
    with av.open(str(source)) as container:
        before = list(container.decode(video=0))
    assert all(frame.interlaced_frame for frame in before)
    with open_video(source) as video:
        frames = [item for item in video.items if isinstance(item, TimedFrame)]
        notes = video.notes
    assert [frame.time_s for frame in frames] == [pytest.approx(f.time) for f in before]
    assert len(notes) == 1
    assert combs(before[3].to_ndarray(format="rgb24")) > 10
    for index, frame in enumerate(frames):
        assert combs(frame.rgb) < 1
        assert np.abs(frame.rgb.astype(float) - smooth(2 * index)).mean() < 4
    summary = run(source, tmp_path / "out.mp4", process=invert)
    assert notes[0] in summary.notes
    with av.open(str(tmp_path / "out.mp4")) as container:
        after = list(container.decode(video=0))
    assert not any(frame.interlaced_frame for frame in after)
    assert len(after) == len(before)


@pytest.mark.extended
def test_progressive_frames_before_interlaced_ones_are_left_alone(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "a.h264", frames=4, picture=smooth, options={"crf": "4"})
    woven = interlaced(tmp_path / "b.h264", frames=4)
    both = tmp_path / "both.ts"
    both.write_bytes(plain.read_bytes() + woven.read_bytes())
    with open_video(both) as video:
        frames = [item for item in video.items if isinstance(item, TimedFrame)]
        notes = video.notes
    assert len(frames) == 8
    assert len(notes) == 1
    for index in range(4):
        assert np.abs(frames[index].rgb.astype(float) - smooth(index)).mean() < 4
        assert combs(frames[4 + index].rgb) < 1


@pytest.mark.extended
def test_a_progressive_video_has_no_note(tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "a.mp4", frames=4)) as video:
        assert len(list(video.items)) == 4
        assert video.notes == []
