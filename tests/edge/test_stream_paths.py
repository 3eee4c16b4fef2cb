"""Inputs are distinguished, outputs are named, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from mggr_edge.errors import OutputExistsError, StreamError, UsageError
from mggr_edge.media.files.paths import choose_output, find_source, pictures_in


@pytest.mark.parametrize("text", ["csi://0", "rtsp://host/x", "/dev/video0", "v4l2:///dev/video0"])
def test_cameras_are_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match="camera or network address; expected a picture"):
        find_source(text)


def test_inputs_are_told_apart(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.MP4", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert find_source(tmp_path / "a.JPG").kind == "picture"
    assert find_source(tmp_path / "b.MP4").kind == "video"
    assert find_source(tmp_path).kind == "folder"
    with pytest.raises(UsageError, match=r"c\.txt is a file that ends in \.txt"):
        find_source(tmp_path / "c.txt")
    with pytest.raises(StreamError, match="does not exist"):
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
    ("input_", "output", "message"),
    [
        ("a.jpg", "a.jpg", "the input itself"),
        ("a.jpg", "pics/../a.jpg", "the input itself"),
        ("a.jpg", "b.mp4", "must end in .jpg"),
        ("a.jpg", "b", "has no suffix"),
        ("a.jpg", "pics", "name the file, e.g. "),
        ("v.mp4", "b.avi", "must end in .mp4 .mov .mkv"),
        ("v.mp4", "rtsp://@:1/x", "device or network address"),
        ("pics", "a.jpg", "so OUTPUT must be one; "),
        ("pics", "new.png", "so OUTPUT must be one; "),
        ("pics", ".", "contains the input"),
    ],
)
def test_outputs_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input_: str, output: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pics").mkdir()
    for name in ("a.jpg", "v.mp4"):
        Path(name).write_bytes(b"x")
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        choose_output(find_source(input_), output, force=True)


def test_a_named_output_that_exists_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    source = find_source(tmp_path / "a.jpg")
    with pytest.raises(OutputExistsError, match="--force"):
        choose_output(source, tmp_path / "b.jpg", force=False)
    assert choose_output(source, tmp_path / "b.jpg", force=True) == tmp_path / "b.jpg"


def test_pictures_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt", "v.mp4", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.jpg").mkdir()
    pictures, others = pictures_in(tmp_path)
    assert [p.name for p in pictures] == ["a.jpg", "b.png"]
    assert others == 3
