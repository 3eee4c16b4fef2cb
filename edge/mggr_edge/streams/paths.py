"""What INPUT is, and where OUTPUT goes: decided once, before anything is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Literal

from mggr_edge.addresses import without_secrets
from mggr_edge.errors import OutputExistsError, StreamError, UsageError

Kind = Literal["picture", "folder", "video"]

PICTURE_OUTPUT_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff"),
)
PICTURE_SUFFIXES = (*PICTURE_OUTPUT_SUFFIXES, ".heic", ".heif")
TRANSPARENT_SUFFIXES = (".png", ".webp", ".avif", ".gif", ".tif", ".tiff")
PAGED_SUFFIXES = (".tif", ".tiff")
ANIMATED_SUFFIXES = (".gif", ".webp", ".png", ".avif")
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".mkv", ".m4v", ".webm", ".avi", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".wmv", ".flv", ".ogv"),
)
VIDEO_OUTPUT_SUFFIXES = (".mp4", ".mov", ".mkv")
"""Containers that hold H.264 with most kinds of sound and still play when cut short."""

NOWHERE = "null://"
"""An OUTPUT that takes everything and keeps nothing."""

_LIVE = re.compile(r"^([a-z][a-z0-9+.-]+)://|^/dev/", re.IGNORECASE)
_OUTPUT_SUFFIXES = {"picture": PICTURE_OUTPUT_SUFFIXES, "video": VIDEO_OUTPUT_SUFFIXES}


@dataclass(frozen=True)
class Source:
    """An INPUT that is there.

    Attributes:
        kind: which reader it wants.
        path: where it lies.
    """

    kind: Kind
    path: Path


def find_source(text: str | Path) -> Source:
    """Tells what INPUT is.

    Raises:
        UsageError: a camera or network address, or a suffix that nobody here reads.
        StreamError: nothing lies there.
    """
    if _LIVE.match(str(text)):
        raise UsageError(
            f"{without_secrets(str(text))} is a camera or network address; expected a picture, "
            "a folder of pictures or a video file"
        )
    path = Path(text)
    shown = without_secrets(str(path))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise StreamError(
            f"{shown} does not exist; expected a picture, a folder or a video file"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StreamError(f"{shown} cannot be read: {reason}") from error
    if path.is_dir():
        return Source("folder", path)
    suffix = path.suffix.lower()
    if path.is_file() and suffix in PICTURE_SUFFIXES:
        return Source("picture", path)
    if path.is_file() and suffix in VIDEO_SUFFIXES:
        return Source("video", path)
    raise UsageError(
        f"{shown} is neither a folder nor a picture ({_listed(PICTURE_SUFFIXES)}) "
        f"nor a video ({_listed(VIDEO_SUFFIXES)})"
    )


def choose_output(source: Source, output: str | Path | None, *, force: bool) -> Path | None:
    """Settles where the result goes.

    Without `output` it is `<name>-redirected` beside the input, numbered if that
    is taken. A video in a container that cannot hold H.264 becomes an MP4, a HEIC picture a JPEG.
    `null://` is nowhere: None.

    Args:
        source: what is read.
        output: what the user named, if anything.
        force: a named output that exists may be replaced.

    Raises:
        OutputExistsError: the named output exists and `force` is false.
        UsageError: the output is of another kind than the input, or would
            overwrite or swallow it.
    """
    if output is None:
        return _unnamed(source)
    if str(output) == NOWHERE:
        return None
    if _LIVE.match(str(output)):
        raise UsageError(
            f"{without_secrets(str(output))} is a device or network address; this version writes "
            f"{_what(source)}, as the input is one"
        )
    path = Path(output)
    _check_kind(source, path)
    _check_apart(source, path)
    if os.path.lexists(path) and not force:
        raise OutputExistsError(path)
    return path


def output_suffix(path: Path) -> str:
    """Suffix of what is made of a picture or video: its own, where that can be written.

    Example:
        >>> [output_suffix(Path(name)) for name in ("a.JPG", "a.heic", "a.webm")]
        ['.JPG', '.jpg', '.mp4']
    """
    suffix = path.suffix.lower()
    if suffix in (*PICTURE_OUTPUT_SUFFIXES, *VIDEO_OUTPUT_SUFFIXES):
        return path.suffix
    return ".mp4" if suffix in VIDEO_SUFFIXES else ".jpg"


def pictures_in(folder: Path) -> tuple[list[Path], int]:
    """Lists the pictures of a folder by name, and counts whatever else lies there."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    pictures = [e for e in entries if e.is_file() and e.suffix.lower() in PICTURE_SUFFIXES]
    return pictures, len(entries) - len(pictures)


def files_in(folder: Path) -> tuple[list[Path], int]:
    """Lists the pictures and videos of a folder by name, and counts all other entries."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    suffixes = (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)
    files = [e for e in entries if e.is_file() and e.suffix.lower() in suffixes]
    return files, len(entries) - len(files)


def output_names(files: Sequence[Path]) -> dict[Path, str]:
    """Names for what is made of a folder's files: their own where their format can be written.

    A file that gets another suffix gets a number too where that name is taken: `a.heic` beside
    `a.jpg` becomes `a-2.jpg`. Names that differ in case only count as the same.
    """
    names = {file: file.name for file in files if output_suffix(file) == file.suffix}
    taken = {name.lower() for name in names.values()}
    for file in (file for file in files if file not in names):
        suffix = output_suffix(file)
        numbered = (f"{file.stem}-{n}{suffix}" for n in count(2))
        name = next(n for n in chain([file.stem + suffix], numbered) if n.lower() not in taken)
        names[file] = name
        taken.add(name.lower())
    return names


def _unnamed(source: Source) -> Path:
    path = source.path if source.path.name not in ("", "..") else source.path.resolve()
    stem, suffix = (path.name, "") if source.kind == "folder" else (path.stem, output_suffix(path))
    output = path.with_name(f"{stem}-redirected{suffix}")
    number = 2
    while os.path.lexists(output):
        output = path.with_name(f"{stem}-redirected-{number}{suffix}")
        number += 1
    return output


def _check_kind(source: Source, path: Path) -> None:
    if source.kind == "folder":
        if os.path.exists(path) and not os.path.isdir(path):
            raise UsageError(f"{source.path} is a folder, so OUTPUT must be one; {path} is a file")
        if path.suffix.lower() in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES):
            raise UsageError(
                f"{source.path} is a folder, so OUTPUT must be one; {path.name} is a file's name"
            )
        return
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder; name the file, e.g. {path / source.path.name}")
    suffixes = _OUTPUT_SUFFIXES[source.kind]
    if path.suffix.lower() not in suffixes:
        got = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise UsageError(
            f"{source.path} is a {source.kind}, so OUTPUT must end in {_listed(suffixes)}; "
            f"{path.name} {got}"
        )


def _check_apart(source: Source, path: Path) -> None:
    # Not `Path.resolve`, which a link to itself is an exception to.
    here, there = (Path(os.path.realpath(one)) for one in (source.path, path))
    if here == there:
        raise UsageError(f"{path} is the input itself; name another OUTPUT")
    if there in here.parents:
        raise UsageError(f"{path} contains the input, which must survive; name another OUTPUT")


def _what(source: Source) -> str:
    if source.kind == "folder":
        return "a folder"
    return f"a {source.kind} file ({_listed(_OUTPUT_SUFFIXES[source.kind])})"


def _listed(suffixes: tuple[str, ...]) -> str:
    return " ".join(suffixes)
