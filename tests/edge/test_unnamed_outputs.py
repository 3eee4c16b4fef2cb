"""Two runs that name no output, or the same one, at the same time: neither loses its work."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run
from refusals import refusal


def process(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


class Meanwhile:
    """Runs something while the first frame is processed."""

    def __init__(self, do) -> None:
        self._do = do

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        self._do()
        return process(frame)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "me.png"
    path.parent.mkdir()
    assert cv2.imwrite(str(path), np.full((16, 16, 3), 90, np.uint8))
    return path


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("taken", [False, True])
def test_pictures(picture: Path, taken: bool, force: bool) -> None:
    if taken:
        picture.with_stem("me-redirected").write_bytes(b"theirs")
    others = []
    meanwhile = Meanwhile(lambda: others.append(run(picture, process=process, force=force)))
    ours = run(picture, process=meanwhile, force=force)
    expected = ["me-redirected-2.png", "me-redirected-3.png"][: 1 + taken]
    expected = expected if taken else ["me-redirected.png", *expected]
    assert [Path(str(one.output)).name for one in (*others, ours)] == expected
    assert all(cv2.imread(str(one.output)) is not None for one in (*others, ours))
    assert (picture.with_stem("me-redirected").read_bytes() == b"theirs") == taken
    assert len(list(picture.parent.iterdir())) == 3 + taken


def test_folders(picture: Path) -> None:
    folder = picture.parent
    others = []
    ours = run(folder, process=Meanwhile(lambda: others.append(run(folder, process=process))))
    assert [Path(str(one.output)).name for one in (*others, ours)] == [
        "photos-redirected",
        "photos-redirected-2",
    ]
    assert (folder.with_name("photos-redirected-2") / "me.png").is_file()


def test_a_named_output_that_came_meanwhile_keeps_both(picture: Path) -> None:
    output = picture.with_name("out.png")
    saved_as = picture.with_name("out-2.png")
    with refusal(StreamError, "output-path-taken", path=output, saved_as=saved_as):
        run(picture, output, process=Meanwhile(lambda: output.write_bytes(b"theirs")))
    assert output.read_bytes() == b"theirs"
    assert cv2.imread(str(picture.with_name("out-2.png"))) is not None


def test_force_replaces_a_named_output_that_came_meanwhile(picture: Path) -> None:
    output = picture.with_name("out.png")
    run(picture, output, process=Meanwhile(lambda: output.write_bytes(b"theirs")), force=True)
    assert cv2.imread(str(output)) is not None
