"""Metadata, chapters and track flags: kept where the container holds them, else named in a note."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.video_writer import REDIRECTED
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run

av = pytest.importorskip("av")

from refusals import refusal  # noqa: E402
from videos_with_audio import write_video  # noqa: E402

APPLE = {
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.creationdate": "2026-11-29T10:30:00+0100",
    "com.apple.quicktime.location.ISO6709": "+48.2082+016.3738/",
}
DISPOSITION = av.stream.Disposition


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


def rich(container: Any) -> None:
    """Fills in everything that this file is about."""
    container.metadata.update({"title": "a call", **APPLE})
    halves = [("one", 0, 400), ("two", 400, 1000)]
    container.set_chapters(
        [
            {
                "id": number,
                "start": start,
                "end": end,
                "time_base": Fraction(1, 1000),
                "metadata": {"title": title},
            }
            for number, (title, start, end) in enumerate(halves, 1)
        ]
    )
    video, first, second = container.streams
    video.metadata.update({"language": "fra", "title": "camera"})
    first.metadata["language"], second.metadata["language"] = "fin", "ita"
    second.metadata["title"] = "comments"
    first.disposition = DISPOSITION.default.value
    second.disposition = DISPOSITION.comment.value


def titles_of(container: Any) -> list[str | None]:
    video, _, second = (s for s in container.streams if s.type in ("video", "audio"))
    return [s.metadata.get("title", s.metadata.get("name")) for s in (video, second)]


def made(path: Path) -> Path:
    muxer = {} if path.suffix == ".mkv" else {"movflags": "use_metadata_tags"}
    return write_video(path, audio=("aac", "aac"), prepare=rich, muxer=muxer)


@pytest.mark.extended
@pytest.mark.parametrize("before", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("after", [".mp4", ".mov", ".mkv"])
def test_what_accompanies_a_video_is_kept(tmp_path: Path, before: str, after: str) -> None:
    source = made(tmp_path / f"in{before}")
    summary = run(source, tmp_path / f"out{after}", process=invert)
    with av.open(str(tmp_path / f"out{after}")) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        chapters = [
            (c["metadata"]["title"], c["start"] * c["time_base"], c["end"] * c["time_base"])
            for c in container.chapters()
        ]
        video, first, second = (s for s in container.streams if s.type in ("video", "audio"))
        languages = [stream.language for stream in (video, first, second)]
        titles = titles_of(container)
        flags = second.disposition.value
    assert metadata["title"] == "a call"
    assert metadata["comment"] == REDIRECTED
    assert {key: metadata[key.lower()] for key in APPLE} == APPLE
    assert chapters == [("one", 0, Fraction(2, 5)), ("two", Fraction(2, 5), 1)]
    assert languages == ["fra", "fin", "ita"]
    lost = [note for note in summary.notes if note.startswith("not kept")]
    with av.open(str(source)) as container:  # FFmpeg 8.0 writes no titles of tracks into MP4
        if titles_of(container) == ["camera", "comments"]:
            assert titles == ["camera", "comments"] or any("title" in note for note in lost)
    # QuickTime has no such flag; of a QuickTime source it is lost already.
    assert bool(flags & DISPOSITION.comment.value) is (".mov" not in (before, after))
    loses_flag = after == ".mov" and before != ".mov"
    assert any("flags (comment)" in note for note in lost) is loses_flag
    assert len(summary.notes) == len(lost) <= 1


@pytest.mark.extended
def test_keys_that_mp4_does_not_hold_are_listed_in_one_note(tmp_path: Path) -> None:
    def prepare(container: Any) -> None:
        container.metadata.update({"title": "a call", "LENS": "35 mm", "OPERATOR": "me"})

    source = write_video(tmp_path / "in.mkv", prepare=prepare)
    (note,) = run(source, tmp_path / "out.mp4", process=invert).notes
    assert {"LENS", "OPERATOR"} <= set(
        note.replace(",", " ").replace(")", " ").replace("(", " ").split()
    )
    assert "title" not in note
    assert run(source, tmp_path / "out.mkv", process=invert).notes == ()


@pytest.mark.extended
def test_a_language_that_quicktime_has_no_code_for_is_listed(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "in.mkv",
        prepare=lambda container: container.streams[0].metadata.update({"language": "mri"}),
    )
    (note,) = run(source, tmp_path / "out.mov", process=invert).notes
    assert "language" in note
    assert run(source, tmp_path / "out.mp4", process=invert).notes == ()


@pytest.mark.extended
def test_transparency_that_is_lost_is_noted(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mov", codec="qtrle", pix_fmt="argb", frames=3)
    notes = run(source, tmp_path / "out.mov", process=invert).notes
    assert notes[-1] == "not kept: transparency"


def with_cover(path: Path, *, video: bool) -> Path:
    """Writes audio and a cover picture, which is larger than the frames of the video beside it."""
    jpeg = cv2.imencode(".jpg", np.full((96, 128, 3), 90, np.uint8))[1].tobytes()

    def prepare(container: Any) -> None:
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 128, 96, "yuvj420p"
        cover.disposition = DISPOSITION.attached_pic
        container.start_encoding()
        packet = av.Packet(jpeg)
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        packet.time_base, packet.is_keyframe = Fraction(1, 90_000), True
        container.mux(packet)

    if video:
        return write_video(path, frames=4, audio=("aac",), prepare=prepare)
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=48_000, layout="mono")
        prepare(container)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts = 48_000, 0
        container.mux(track.encode(silence))
        container.mux(track.encode())
    return path


@pytest.mark.extended
def test_a_cover_picture_is_no_video_stream(tmp_path: Path) -> None:
    summary = run(with_cover(tmp_path / "a.mp4", video=True), tmp_path / "out.mp4", process=invert)
    assert summary.frames == 4
    assert summary.notes == ("not kept: cover picture",)
    with av.open(str(tmp_path / "out.mp4")) as container:
        (video,) = container.streams.video
        assert (video.width, video.height) == (64, 48)


def test_audio_with_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    song = with_cover(tmp_path / "song.mp4", video=False)
    with refusal(StreamError, "no-video-stream", path=song):
        run(song, tmp_path / "out.mp4", process=invert)
    assert not (tmp_path / "out.mp4").exists()


def test_all_losses_are_in_one_note(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "in.mkv",
        frames=3,
        options={"x264-params": "frame-packing=3"},  # two views side by side
        prepare=lambda container: container.metadata.update({"LENS": "35 mm"}),
    )
    (note,) = run(source, tmp_path / "out.mp4", process=invert).notes
    assert "LENS" in note
    assert "stereo" in note


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".avi"])
def test_a_plain_video_has_no_notes(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    source = write_video(tmp_path / f"in{suffix}", codec=codec, frames=4)
    for after in (".mp4", ".mov", ".mkv"):
        assert run(source, tmp_path / f"out{after}", process=invert).notes == ()


@pytest.mark.extended
def test_what_was_written_here_is_kept_once_more_without_notes(tmp_path: Path) -> None:
    """Chapters and timecodes of an MP4 file have tracks of their own, which are no lost streams."""

    def prepare(container: Any) -> None:
        rich(container)
        container.metadata["timecode"] = "01:00:00:00"

    source = write_video(
        tmp_path / "in.mp4",
        audio=("aac", "aac"),
        prepare=prepare,
        muxer={"movflags": "use_metadata_tags"},
    )
    for number in range(2):
        summary = run(source, tmp_path / f"out{number}.mp4", process=invert)
        assert summary.notes == ()
        source = tmp_path / f"out{number}.mp4"
    with av.open(str(source)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"
        assert len(container.chapters()) == 2
