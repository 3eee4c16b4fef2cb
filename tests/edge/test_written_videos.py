"""A video file gets its name only if its end can be read back; names are files, never addresses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.colour import colour_of_rgb
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.files.written import Expected, is_whole, read_back
from mggr_edge.media.live.recordings import Recording
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run

av = pytest.importorskip("av")

from refusals import refusal  # noqa: E402
from videos_with_audio import video_times, write_video  # noqa: E402

SUFFIXES = (".mp4", ".mov", ".mkv")
INCOMPLETE = ("fragment-incomplete", "packet-incomplete", "frames-missing", "audio-incomplete")


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


def noise(index: int) -> NDArray[np.uint8]:
    return np.random.default_rng(index).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that takes two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root alone")
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def leave_room(disk: Path, size: int) -> None:
    (disk / "fill").write_bytes(bytes((2 << 20) - size))


@pytest.mark.extended
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("frames", "share"), [(40, 0.6), (70, 0.3), (70, 0.9)])
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(
    tmp_path: Path, small_disk: Path, suffix: str, frames: int, share: float
) -> None:
    source = write_video(tmp_path / "in.mp4", frames=frames, picture=noise)
    output = small_disk / f"out{suffix}"
    run(source, tmp_path / f"out{suffix}", process=invert)
    room = round(share * (tmp_path / f"out{suffix}").stat().st_size)
    leave_room(small_disk, room)
    with pytest.raises(StreamError) as caught:
        run(source, output, process=invert)
    assert caught.value.code in ("video-unwritable", *INCOMPLETE)
    assert caught.value.fields["path"] == output
    assert [path.name for path in small_disk.iterdir()] == ["fill"]


def test_a_recording_whose_end_does_not_fit_keeps_its_whole_fragments(small_disk: Path) -> None:
    layout = VideoLayout(
        (96, 128), Fraction(1, 25), Fraction(25), None, colour_of_rgb(96), (), {}, (), None
    )
    grey = np.full((96, 128, 3), 90, np.uint8)

    leave_room(small_disk, 200_000)

    def record() -> None:
        with Recording(small_disk / "a.mp4").opened(layout) as writer:
            for index in range(95):  # small fragments, and a last one that does not fit
                picture = grey if index < 51 else noise(index)
                writer.write(picture, TimedFrame(picture, index, None, index / 25))

    with refusal(StreamError, "recording-incomplete", path=small_disk / "a.mp4"):
        record()
    assert sorted(path.name for path in small_disk.iterdir()) == ["a.mp4", "fill"]
    assert is_whole(small_disk / "a.mp4")
    assert len(video_times(small_disk / "a.mp4")) >= 50


def expected_of(path: Path) -> Expected:
    expected = Expected()
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                expected.note(packet, packet.stream)
    return expected


@pytest.mark.extended
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("missing", [1, 300, 3000])
def test_an_end_that_is_missing_is_found(tmp_path: Path, suffix: str, missing: int) -> None:
    muxer = {} if suffix == ".mkv" else {"movflags": "frag_keyframe+delay_moov+skip_trailer"}
    whole = write_video(
        tmp_path / f"a{suffix}", frames=30, audio=("aac",), picture=noise, muxer=muxer
    )
    expected = expected_of(whole)
    with read_back(whole, expected, path=whole):
        pass
    if suffix == ".mkv" and missing < 3000:
        return  # its last bytes are an index, which players do without
    with whole.open("r+b") as file:
        file.truncate(whole.stat().st_size - missing)
    with pytest.raises(StreamError) as caught, read_back(whole, expected, path=whole):
        pass
    assert caught.value.code in ("video-unwritable", *INCOMPLETE)
    assert caught.value.fields["path"] == whole


def test_audio_that_is_missing_at_the_end_is_found(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", frames=30, audio=("aac",))
    expected = expected_of(whole)
    silent = write_video(tmp_path / "b.mkv", frames=30)
    with (
        refusal(StreamError, "audio-incomplete", path=silent, track=1),
        read_back(silent, expected, path=silent),
    ):
        pass


@pytest.mark.extended
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_colon_in_a_name_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path(f"call-10:30{suffix}"), frames=5)
    summary = run(f"call-10:30{suffix}", f"out:1{suffix}", process=invert)
    assert summary.frames == len(video_times(Path(f"out:1{suffix}"))) == 5
    assert run(f"call-10:30{suffix}", process=invert).output == Path(
        f"call-10:30-redirected{suffix}"
    )


def test_a_recording_may_have_a_colon_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layout = VideoLayout(
        (96, 128), Fraction(1, 25), Fraction(25), None, colour_of_rgb(96), (), {}, (), None
    )
    with Recording(Path("2026-11-29T10:30:00.mp4")).opened(layout) as writer:
        writer.write(noise(0), TimedFrame(noise(0), 0, None, 0.0))
    assert video_times(Path("2026-11-29T10:30:00.mp4")) == [0.0]


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_video_that_begins_late_keeps_its_times_to_the_tick(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "in.ts", frames=10, audio=("aac",))
    run(source, tmp_path / f"out{suffix}", process=invert)
    assert video_times(tmp_path / f"out{suffix}") == video_times(source)
