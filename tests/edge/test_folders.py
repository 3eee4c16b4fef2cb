"""Folders: a file that fails costs the others nothing, and videos are files like any other."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from mggr_edge.cli import main
from mggr_edge.errors import MggrError, StreamError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.media.files.paths import output_names
from mggr_edge.media.files.picture import Picture
from mggr_edge.media.files.pictures import read_picture, read_pictures, write_picture
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.runs.file_run import run
from ramps import smooth_picture
from refusals import refusal

Image = pytest.importorskip("PIL.Image")


class Result:
    """What a process made of a frame."""

    def __init__(self, frame: NDArray[np.uint8]) -> None:
        self.frame, self.faces = frame, ()


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
    return Result(255 - frame)


def invert_all_but_black(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
    if not frame.any():
        raise ZeroDivisionError("a fault of ours")
    return Result(255 - frame)


def keep(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
    return Result(frame.copy())


BLACK = np.zeros((48, 64, 3), np.uint8)


def folder_of(tmp_path: Path, **rgbs: NDArray[np.uint8]) -> Path:
    (tmp_path / "in").mkdir()
    for name, rgb in rgbs.items():
        write_picture(tmp_path / "in" / f"{name}.png", Picture(rgb))
    return tmp_path / "in"


def write_video(path: Path, *, frames: int = 5) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(smooth_picture(), index, axis=1), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_an_internal_error_of_one_picture_keeps_the_others(tmp_path: Path) -> None:
    source = folder_of(tmp_path, a=smooth_picture(), b=BLACK, c=smooth_picture(shift=9.0))
    summary = run(source, tmp_path / "out", process=invert_all_but_black)
    assert names(tmp_path / "out") == ["a.png", "c.png"]
    assert (summary.files, summary.frames) == (2, 2)
    (failure,) = summary.failures
    assert failure.path.name == "b.png"
    assert "ZeroDivisionError" in failure.message
    assert "invert_all_but_black" in failure.traceback


def test_an_internal_error_of_all_pictures_is_raised(tmp_path: Path) -> None:
    source = folder_of(tmp_path, a=BLACK, b=BLACK)
    with pytest.raises(ZeroDivisionError):
        run(source, tmp_path / "out", process=invert_all_but_black)
    assert names(tmp_path) == ["in"]


def test_an_internal_error_is_shown_once_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder_of(tmp_path, a=smooth_picture(), b=BLACK, c=BLACK)
    monkeypatch.setattr(
        "mggr_edge.runs.redirect.redirect",
        lambda source, output, options, **rest: run(source, output, process=invert_all_but_black),
    )
    result = CliRunner().invoke(main, ["run", str(source), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 2
    assert result.stderr.count("Traceback") == 1
    assert names(tmp_path / "out") == ["a.png"]


def test_a_picture_wider_than_opencv_warps_goes_through(tmp_path: Path, bundle: Bundle) -> None:
    source = folder_of(tmp_path, a=smooth_picture(), wide=np.zeros((32, 40_000, 3), np.uint8))
    summary = run(source, tmp_path / "out", process=Redirector(bundle).process)
    assert summary.failures == ()
    assert names(tmp_path / "out") == ["a.png", "wide.png"]


def test_a_face_in_a_picture_wider_than_opencv_warps_is_redirected(
    bundle: Bundle, portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mggr_edge.vision.detector import Detection, FaceDetector

    left = 35_000
    wide = np.zeros((portrait.shape[0], left + 600, 3), np.uint8)
    wide[:, left : left + portrait.shape[1]] = portrait
    detect = FaceDetector.detect

    def found(self: FaceDetector, frame: NDArray[np.uint8]) -> tuple[Detection, ...]:
        # The detector itself sees nothing in a picture so flat.
        shift = np.array([left, 0.0, left, 0.0])
        return tuple(
            Detection(one.confidence, tuple(one.box + shift), one.points + shift[:2])
            for one in detect(self, portrait)
        )

    # The target is far from the gaze, so the strength does not depend on small errors of the gaze.
    aside = Gaze(0, 20)
    expected = Redirector(bundle, target=aside).process(portrait)
    monkeypatch.setattr(FaceDetector, "detect", found)
    result = Redirector(bundle, target=aside).process(wide)
    assert [eye.strength for eye in result.faces[0].eyes] == pytest.approx(
        [eye.strength for eye in expected.faces[0].eyes], abs=0.02
    )
    shown = result.frame[:, left : left + portrait.shape[1]].astype(int)
    assert (shown != portrait).any()
    assert np.abs(shown - expected.frame).mean() < 0.2


@pytest.mark.extended
def test_videos_of_a_folder_are_processed(tmp_path: Path) -> None:
    source = folder_of(tmp_path, a=smooth_picture())
    write_video(source / "clip.avi")
    write_video(source / "clip.mp4", frames=7)
    (source / "broken.mp4").write_bytes(b"no video")
    (source / "notes.txt").write_text("neither")
    resets = []
    times: list[float | None] = []

    def process(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
        times.append(time_s)
        return Result(255 - frame)

    summary = run(
        source, tmp_path / "out", process=process, reset=lambda: resets.append(len(times))
    )
    assert names(tmp_path / "out") == ["a.png", "clip-2.mp4", "clip.mp4"]
    assert (summary.files, summary.videos, summary.frames, summary.ignored) == (3, 2, 13, 1)
    assert [failure.path.name for failure in summary.failures] == ["broken.mp4"]
    assert times[0] is None
    assert times.count(0.0) == 2
    assert {times.index(0.0), 1 + 5} <= set(resets)
    assert "1 picture and 2 videos (13 frames)" in summary.in_words()


@pytest.mark.extended
def test_a_redirector_starts_anew_with_each_video(tmp_path: Path, bundle: Bundle) -> None:
    source = folder_of(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        write_video(source / name)
    redirector = Redirector(bundle)
    summary = run(source, "null://", process=redirector.process, reset=redirector.reset)
    assert (summary.failures, summary.videos) == ((), 2)


def test_names_of_converted_files_do_not_collide() -> None:
    files = [Path(name) for name in ("a.heic", "a.JPG", "b.webm", "b.mp4", "b-2.MP4", "c.heif")]
    assert output_names(files) == {
        Path("a.JPG"): "a.JPG",
        Path("a.heic"): "a-2.jpg",
        Path("b.mp4"): "b.mp4",
        Path("b-2.MP4"): "b-2.MP4",
        Path("b.webm"): "b-3.mp4",
        Path("c.heif"): "c.jpg",
    }


def save(path: Path, **options: Any) -> None:
    Image.fromarray(smooth_picture()).save(path, **options)


def test_what_is_lost_is_one_note_of_a_folder(tmp_path: Path) -> None:
    source = folder_of(tmp_path, a=smooth_picture())
    for name in ("b.jpg", "c.jpg"):
        Image.fromarray(smooth_picture()).convert("CMYK").save(source / name)
    save(source / "cut.jpg")
    (source / "cut.jpg").write_bytes((source / "cut.jpg").read_bytes()[:-2])
    summary = run(source, tmp_path / "out", process=invert)
    kept, damaged = summary.notes
    assert "CMYK" in kept
    assert "(2 files)" in kept
    assert "cut.jpg" in damaged


def test_what_is_lost_is_a_note_of_a_picture(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", comment=b"kept by JPEG", dpi=(300, 300))
    (note,) = run(tmp_path / "a.jpg", tmp_path / "a.webp", process=invert).notes
    assert note == "not kept: resolution (dpi); comment"
    assert run(tmp_path / "a.jpg", tmp_path / "b.jpg", process=invert).notes == ()
    copied = run(tmp_path / "a.jpg", tmp_path / "c.jpg", process=keep)
    assert (copied.notes, copied.is_copy) == ((), True)


@pytest.mark.parametrize("name", ["a.gif", "a.avif", "a.tif"])
def test_the_unnamed_output_has_the_format_of_the_input(tmp_path: Path, name: str) -> None:
    save(tmp_path / name)
    summary = run(tmp_path / name, process=invert)
    assert summary.output == tmp_path / f"a-redirected{Path(name).suffix}"
    with Image.open(summary.output) as image, Image.open(tmp_path / name) as before:
        assert image.format == before.format


def test_an_animated_picture_counts_its_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(smooth_picture(), n, axis=1)) for n in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=40)
    summary = run(tmp_path / "a.webp", process=invert)
    assert (summary.kind, summary.files, summary.frames) == ("picture", 1, 3)
    assert len(read_pictures(summary.output)) == 3
    assert "1 picture (3 frames)" in summary.in_words()


# A full disk: the system's limit of a file's size stands for it.


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


NOISE = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)


@pytest.mark.parametrize("process", [invert, keep])
def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, process: Any) -> None:
    write_picture(tmp_path / "a.png", Picture(NOISE))
    with full_disk(50_000), pytest.raises(MggrError):
        run(tmp_path / "a.png", process=process)
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("process", [invert, keep])
def test_a_full_disk_keeps_the_pictures_that_fit(tmp_path: Path, process: Any) -> None:
    source = folder_of(tmp_path, a=smooth_picture(), b=NOISE, c=smooth_picture())
    with full_disk(50_000):
        summary = run(source, tmp_path / "out", process=process)
    assert names(tmp_path / "out") == ["a.png", "c.png"]
    assert [failure.path.name for failure in summary.failures] == ["b.png"]
    read_picture(tmp_path / "out" / "a.png")


def test_a_file_that_does_not_hold_what_was_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda self: b"something else")
    with refusal(StreamError, "file-content-wrong", path=tmp_path / "a.png"):
        write_picture(tmp_path / "a.png", Picture(smooth_picture()))
    assert names(tmp_path) == []
