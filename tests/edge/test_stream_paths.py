"""Inputs are distinguished, outputs are named, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from mggr_edge.errors import OutputExistsError, StreamError, UsageError
from mggr_edge.media.files.paths import choose_output, find_source, pictures_in
from refusals import refusal


@pytest.mark.parametrize("text", ["csi://0", "rtsp://host/x", "/dev/video0", "v4l2:///dev/video0"])
def test_cameras_are_refused_in_words(text: str) -> None:
    with refusal(UsageError, "input-not-a-file", address=text):
        find_source(text)


def test_inputs_are_told_apart(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.MP4", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert find_source(tmp_path / "a.JPG").kind == "picture"
    assert find_source(tmp_path / "b.MP4").kind == "video"
    assert find_source(tmp_path).kind == "folder"
    path = tmp_path / "c.txt"
    with refusal(UsageError, "input-suffix-unsupported", path=path, suffix=".txt"):
        find_source(path)
    with refusal(StreamError, "input-missing", path=tmp_path / "d.png"):
        find_source(tmp_path / "d.png")


def test_unnamed_outputs_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.b.JPG").write_bytes(b"x")
    source = find_source(tmp_path / "a.b.JPG")
    chosen = []
    for _ in range(3):
        output = choose_output(source, None, force=True)
        output.write_bytes(b"x")
        chosen.append(output.name)
    assert chosen == ["a.b-redirected.JPG", "a.b-redirected-2.JPG", "a.b-redirected-3.JPG"]


def test_unnamed_output_of_folders_and_foreign_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "v1.0"
    folder.mkdir()
    (folder / "x.avi").write_bytes(b"x")
    assert choose_output(find_source(folder), None, force=False).name == "v1.0-redirected"
    video = find_source(folder / "x.avi")
    assert choose_output(video, None, force=False).name == "x-redirected.mp4"
    monkeypatch.chdir(folder)
    expected = tmp_path.resolve() / "v1.0-redirected"
    assert choose_output(find_source("."), None, force=False) == expected


@pytest.mark.parametrize(
    ("input_", "output", "code", "fields"),
    [
        ("a.jpg", "a.jpg", "output-is-input", {"path": "a.jpg"}),
        ("a.jpg", "pics/../a.jpg", "output-is-input", {"path": "pics/../a.jpg"}),
        ("a.jpg", "b.mp4", "output-suffix-unsupported", {"path": "b.mp4", "suffix": ".mp4"}),
        ("a.jpg", "b", "output-suffix-unsupported", {"path": "b", "suffix": ""}),
        ("a.jpg", "pics", "output-is-folder", {"path": "pics"}),
        ("v.mp4", "b.avi", "output-suffix-unsupported", {"expected": ".mp4 .mov .mkv"}),
        (
            *("v.mp4", "rtsp://@:1/x", "output-not-a-file"),
            {"address": "rtsp://@:1/x", "expected": "video"},
        ),
        ("pics", "a.jpg", "output-is-file", {"path": "a.jpg", "source": "pics"}),
        ("pics", "new.png", "output-named-like-file", {"path": "new.png", "source": "pics"}),
        ("pics", ".", "output-contains-input", {"path": ".", "source": "pics"}),
    ],
)
def test_outputs_that_do_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    input_: str,
    output: str,
    code: str,
    fields: dict[str, object],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pics").mkdir()
    for name in ("a.jpg", "v.mp4"):
        Path(name).write_bytes(b"x")
    with refusal(UsageError, code, **fields):
        choose_output(find_source(input_), output, force=True)


def test_a_named_output_that_exists_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    source = find_source(tmp_path / "a.jpg")
    with refusal(OutputExistsError, "output-exists", path=tmp_path / "b.jpg"):
        choose_output(source, tmp_path / "b.jpg", force=False)
    assert choose_output(source, tmp_path / "b.jpg", force=True) == tmp_path / "b.jpg"


def test_pictures_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt", "v.mp4", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.jpg").mkdir()
    pictures, others = pictures_in(tmp_path)
    assert [p.name for p in pictures] == ["a.jpg", "b.png"]
    assert others == 3
