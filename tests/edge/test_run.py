"""A run with a small processor in place of the redirector, on real files."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.common.progress import progress
from mggr_edge.common.timing import StageClock
from mggr_edge.errors import OutputExistsError, StreamError, UsageError
from mggr_edge.media.files.pictures import read_picture
from mggr_edge.runs.file_run import run
from mggr_edge.runs.summary import RunSummary
from refusals import refusal

av = pytest.importorskip("av")


@dataclass(frozen=True)
class Eye:
    strength: float
    reason: str | None


@dataclass(frozen=True)
class Face:
    eyes: tuple[Eye, ...]


@dataclass(frozen=True)
class Result:
    frame: NDArray[np.uint8]
    faces: tuple[Face, ...]


WINKING = Face((Eye(1.0, None), Eye(0.0, "closed")))


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
    return Result(255 - frame, (WINKING,))


def find_nobody(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
    return Result(frame.copy(), ())


def picture(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    small = np.random.default_rng(seed).integers(90, 160, (6, 8, 3), np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def write_rgb(path: Path, rgb: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def write_video(path: Path, *, frames: int = 20, size: tuple[int, int] = (48, 64)) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            rgb = np.roll(picture(size=size), index, axis=1)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_picture_goes_through(tmp_path: Path) -> None:
    source = write_rgb(tmp_path / "a.png", picture())
    summary = run(source, process=invert)
    assert summary == RunSummary(
        kind="picture",
        output=tmp_path / "a-redirected.png",
        frames=1,
        frames_with_faces=1,
        eyes_redirected=1,
        reasons={"closed": 1},
    )
    np.testing.assert_array_equal(read_picture(summary.output).rgb, 255 - picture())
    assert names(tmp_path) == ["a-redirected.png", "a.png"]


def test_a_picture_is_processed_without_a_time(tmp_path: Path) -> None:
    times = []

    def note(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
        times.append(time_s)
        return invert(frame)

    run(write_rgb(tmp_path / "a.png", picture()), process=note)
    run(write_video(tmp_path / "v.mp4", frames=4), process=note)
    assert times == [None, 0.0, 0.04, 0.08, 0.12]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "v.mp4"])
def test_where_nobody_is_the_output_is_the_input(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    if name == "v.mp4":
        write_video(source)
    else:
        write_rgb(source, picture())
    summary = run(source, process=find_nobody)
    assert summary.output.read_bytes() == source.read_bytes()
    assert summary.is_copy
    words = summary.in_words()
    assert "no face was found" in words
    assert "copy of the input" in words


def test_another_format_is_encoded_even_where_nobody_is(tmp_path: Path) -> None:
    source = write_rgb(tmp_path / "a.png", picture())
    summary = run(source, tmp_path / "b.webp", process=find_nobody)
    assert not summary.is_copy
    assert read_picture(tmp_path / "b.webp").rgb.shape == (48, 64, 3)


def test_a_video_goes_through_frame_by_frame(tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.mp4")
    summary = run(source, tmp_path / "out.mp4", process=invert)
    assert (summary.kind, summary.frames, summary.frames_with_faces) == ("video", 20, 20)
    assert (summary.eyes_redirected, summary.reasons) == (20, {"closed": 20})
    before, after = frames_of(source), frames_of(tmp_path / "out.mp4")
    assert len(after) == len(before) == 20
    for one, two in zip(before, after, strict=True):
        assert np.abs(255.0 - one - two).mean() < 4
    assert names(tmp_path) == ["out.mp4", "v.mp4"]


def test_the_summary_says_what_was_padded(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 31, 47, "yuv444p"
        frame = av.VideoFrame.from_ndarray(picture(size=(31, 47)), "rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame.reformat(format="yuv444p")))
        container.mux(stream.encode())
    summary = run(tmp_path / "odd.mkv", process=invert)
    assert "47 x 31 were extended to 48 x 32" in summary.in_words()
    assert frames_of(summary.output)[0].shape == (32, 48, 3)


def test_a_folder_goes_through_with_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for index, name in enumerate(("b.png", "a.PNG", "ä 目.png")):
        write_rgb(folder / "x.png", picture(index)).rename(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    summary = run(folder, tmp_path / "out", process=invert)
    assert names(tmp_path / "out") == sorted(["b.png", "a.PNG", "ä 目.png"])
    assert (summary.frames, summary.eyes_redirected, summary.ignored) == (3, 3, 1)
    assert "1 other entry ignored" in summary.in_words()
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "b.png").rgb, 255 - picture(0))


def test_a_bad_picture_of_a_folder_is_named_and_the_others_written(tmp_path: Path) -> None:
    write_rgb(tmp_path / "in" / "good.png", picture())
    (tmp_path / "in" / "bad.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    summary = run(tmp_path / "in", process=invert)
    assert names(summary.output) == ["good.png"]
    assert summary.frames == 1
    assert [f.path.name for f in summary.failures] == ["bad.jpg"]
    assert "bad.jpg" in summary.failures[0].message


def test_a_folder_of_bad_pictures_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    folder = tmp_path / "in"
    with refusal(StreamError, "all-files-failed", path=folder, failed=1, first=folder / "bad.jpg"):
        run(folder, process=invert)
    assert names(tmp_path) == ["in"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with refusal(StreamError, "folder-without-media", path=tmp_path / "in", ignored=0):
        run(tmp_path / "in", process=invert)
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("bad.jpg", "picture-truncated"),
        ("bad.png", "picture-truncated"),
        ("bad.mp4", "video-unreadable"),
        ("cut.mp4", "video-unreadable"),
    ],
)
def test_bad_input_leaves_nothing_behind(tmp_path: Path, name: str, code: str) -> None:
    if name == "cut.mp4":
        content = write_video(tmp_path / "whole.mp4", frames=60).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        (tmp_path / "whole.mp4").unlink()
    else:
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with refusal(StreamError, code, path=tmp_path / name):
        run(tmp_path / name, process=invert)
    assert names(tmp_path) == [name]


def test_damage_in_the_middle_leaves_nothing_and_keeps_the_old_output(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    content = bytearray(write_video(path, frames=80).read_bytes())
    middle = content.index(b"mdat") + (content.index(b"moov") - content.index(b"mdat")) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(StreamError) as caught:
        run(path, tmp_path / "out.mp4", process=invert, force=True)
    assert caught.value.code in ("video-unreadable", "video-frame-damaged")
    assert caught.value.fields["path"] == path
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
    assert names(tmp_path) == ["out.mp4", "v.mp4"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ZeroDivisionError])
def test_what_stops_the_processor_leaves_nothing(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    def stop(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
        if time_s is None or time_s > 0.2:
            raise failure
        return invert(frame)

    write_video(tmp_path / "v.mp4")
    write_rgb(tmp_path / "a.png", picture())
    write_rgb(tmp_path / "in" / "a.png", picture())
    for name in ("v.mp4", "a.png", "in"):
        with pytest.raises(failure):
            run(tmp_path / name, process=stop)
    assert names(tmp_path) == ["a.png", "in", "v.mp4"]


def test_a_frame_of_another_size_is_a_fault_of_ours(tmp_path: Path) -> None:
    def shrink(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
        return Result(frame[:10], (WINKING,))

    with pytest.raises(ValueError, match="expected uint8"):
        run(write_video(tmp_path / "v.mp4"), process=shrink)
    assert names(tmp_path) == ["v.mp4"]


def test_named_outputs_are_refused_without_force(tmp_path: Path) -> None:
    source = write_rgb(tmp_path / "a.png", picture())
    write_rgb(tmp_path / "b.png", picture(1))
    with pytest.raises(OutputExistsError):
        run(source, tmp_path / "b.png", process=invert)
    run(source, tmp_path / "b.png", process=invert, force=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png").rgb, 255 - picture())
    folder = write_rgb(tmp_path / "in" / "a.png", picture()).parent
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExistsError):
        run(folder, tmp_path / "out", process=invert)
    with refusal(UsageError, "output-contains-input", path=tmp_path, source=folder):
        run(folder, tmp_path, process=invert, force=True)
    assert names(folder) == ["a.png"]


@pytest.mark.processes
def test_a_killed_run_leaves_a_file_that_plays(tmp_path: Path) -> None:
    """SIGKILL after 130 of 200 frames: no output, and a part with whole fragments of 2 s."""
    write_video(tmp_path / "v.mp4", frames=200)
    script = """
        import os, signal, sys
        from types import SimpleNamespace
        from mggr_edge.runs.file_run import run

        def process(frame, /, *, time_s=None):
            if time_s > 130 / 25:
                os.kill(os.getpid(), signal.SIGKILL)
            return SimpleNamespace(frame=255 - frame, faces=())

        run(sys.argv[1], sys.argv[2], process=process)
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path / "v.mp4", tmp_path / "out.mp4"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert finished.returncode == -signal.SIGKILL
    (part,) = tmp_path.glob("out.partial-*.mp4")
    assert not (tmp_path / "out.mp4").exists()
    kept = frames_of(part)
    assert len(kept) in (50, 100)
    original = frames_of(tmp_path / "v.mp4")[: len(kept)]
    assert np.abs(255.0 - np.stack(original) - np.stack(kept)).mean() < 4


@pytest.mark.extended
def test_progress_counts_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Counting:
        def __init__(self, label: str, total: int | None) -> None:
            seen.append((label, total))

        def __enter__(self):
            return lambda steps=1: seen.append(steps)

        def __exit__(self, *error: object) -> None:
            pass

    run(write_video(tmp_path / "v.mp4", frames=7), process=invert, progress=Counting)
    assert seen == [("redirecting v.mp4", 7), *[1] * 7]
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run(tmp_path / "v.mp4", process=invert, progress=progress)
    assert sys.stderr.getvalue() == ""


def twice_as_wide(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
    return Result(np.concatenate([frame, 255 - frame], axis=1), (WINKING,))


def test_a_video_may_become_twice_as_wide(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", frames=5)
    summary = run(source, process=twice_as_wide, columns=2, comment="seen twice")
    assert summary.output is not None
    for shown, before in zip(frames_of(summary.output), frames_of(source), strict=True):
        assert shown.shape == (48, 128, 3)
        assert np.abs(shown[:, :64].astype(int) - before).mean() < 4
        assert np.abs(shown[:, 64:].astype(int) - (255 - before.astype(int))).mean() < 4
    with av.open(str(summary.output)) as container:
        assert container.metadata["comment"] == "seen twice"


def test_a_transparent_picture_may_become_twice_as_wide(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), np.arange(48 * 64).reshape(48, 64) % 256]).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), rgba)
    summary = run(tmp_path / "a.png", process=twice_as_wide, columns=2)
    assert summary.output is not None
    shown = read_picture(summary.output)
    assert shown.rgb.shape == (48, 128, 3)
    assert shown.alpha is not None
    np.testing.assert_array_equal(shown.alpha, np.tile(rgba[..., 3], (1, 2)))


@pytest.mark.parametrize("kind", ["picture", "folder", "video"])
def test_nowhere_takes_everything_and_keeps_nothing(tmp_path: Path, kind: str) -> None:
    source, frames = {
        "picture": lambda: (write_rgb(tmp_path / "in" / "a.png", picture()), 1),
        "folder": lambda: (write_rgb(tmp_path / "in" / "a.png", picture()).parent, 1),
        "video": lambda: (write_video(tmp_path / "a.mp4", frames=6), 6),
    }[kind]()
    before = sorted(tmp_path.rglob("*"))
    stages = StageClock()
    summary = run(source, "null://", process=invert, stages=stages)
    assert sorted(tmp_path.rglob("*")) == before
    assert (summary.kind, summary.output, summary.frames) == (kind, None, frames)
    assert summary.eyes_redirected == frames
    assert summary.in_words().startswith(f"wrote nothing: {frames} ")
    assert "read" in stages.totals_s()


def test_a_folder_s_failures_are_told_where_nothing_is_written(tmp_path: Path) -> None:
    write_rgb(tmp_path / "in" / "a.png", picture())
    (tmp_path / "in" / "bad.jpg").write_bytes(b"\xff\xd8")
    summary = run(tmp_path / "in", "null://", process=invert)
    assert [failure.path.name for failure in summary.failures] == ["bad.jpg"]
    assert summary.frames == 1
