"""Find the kind of INPUT and choose the path of OUTPUT, before any file is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Literal

from mggr_edge.common.address_hints import closest_input, closest_output
from mggr_edge.common.addresses import (
    INPUT_FORMS,
    NOT_SEEKABLE,
    closest_form,
    input_address,
    names_a_folder,
    output_address,
    path_type,
    redact_credentials,
)
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
"""Suffixes of the containers that can be written.

These containers support H.264 and most audio codecs. A truncated file in these containers can still
be played."""

NOWHERE = "null://"
"""Address of an OUTPUT that discards all frames."""

_OUTPUT_SUFFIXES = {"picture": PICTURE_OUTPUT_SUFFIXES, "video": VIDEO_OUTPUT_SUFFIXES}


@dataclass(frozen=True)
class Source:
    """An existing INPUT.

    Attributes:
        kind: type of the input. The type selects the reader.
        path: path of the file or folder.
    """

    kind: Kind
    path: Path


def find_source(named: str | Path) -> Source:
    """Return the kind and the path of INPUT.

    Args:
        named: the INPUT. A string is parsed; see `mggr_edge.common.addresses`. A `Path` is used
            without parsing.

    Raises:
        UsageError: INPUT is a camera or network address, a device or a pipe, or the suffix of
            INPUT is unknown.
        StreamError: the path does not exist or cannot be accessed.
    """
    path = named if isinstance(named, Path) else _path_of_input(named)
    shown = redact_credentials(str(named))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        closest = closest_input(str(named))
        raise StreamError(
            f"{shown} does not exist{closest_form(closest)}; expected a picture, a folder, a video "
            f"file or a camera ({INPUT_FORMS})",
            code="input-missing",
            path=shown,
            closest=None if closest is None else redact_credentials(closest),
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StreamError(
            f"{shown} cannot be read: {reason}", code="input-unreadable", path=shown, reason=reason
        ) from error
    found, suffix = path_type(path), path.suffix.lower()
    if found == "folder":
        return Source("folder", path)
    if found == "pipe":
        raise UsageError(
            f"{shown} is a pipe, which {NOT_SEEKABLE}",
            code="input-is-pipe",
            path=shown,
            found=found,
        )
    if found != "file":
        raise UsageError(
            f"{shown} is a {found}; expected a picture, a folder or a video file",
            code="input-is-device",
            path=shown,
            found=found,
        )
    if suffix in PICTURE_SUFFIXES:
        return Source("picture", path)
    if suffix in VIDEO_SUFFIXES:
        return Source("video", path)
    raise UsageError(
        f"{shown} {_ending(path)}, which is not supported; expected a folder, a picture "
        f"({_listed(PICTURE_SUFFIXES)}) or a video ({_listed(VIDEO_SUFFIXES)})",
        code="input-suffix-unsupported",
        path=shown,
        suffix=path.suffix,
    )


def _path_of_input(text: str) -> Path:
    address = input_address(text)
    if address.scheme != "file":
        shown = redact_credentials(text)
        raise UsageError(
            f"{shown} is a camera or network address; expected a picture, a folder of pictures or "
            "a video file",
            code="input-not-a-file",
            address=shown,
        )
    return Path(address.place)


def choose_output(source: Source, output: str | Path | None, *, force: bool) -> Path | None:
    """Return the path of the output, or `None` for `null://`.

    The default path is `<name>-redirected` in the folder of the input. If this path exists, a
    number is appended to the name. The default suffix is the suffix of the input, with two
    exceptions:

    - `.mp4` for a video whose suffix is not in `VIDEO_OUTPUT_SUFFIXES`
    - `.jpg` for a HEIC picture

    Args:
        source: the input.
        output: the OUTPUT that the user specified. `None` selects the default path.
        force: whether an existing `output` may be replaced.

    Raises:
        OutputExistsError: `output` exists and `force` is false.
        UsageError: the output has another kind than the input, is the input itself, or is a
            folder that contains the input.
    """
    if output is None:
        return _unnamed(source)
    if isinstance(output, Path):
        path = output
    else:
        address = output_address(output)
        if address.scheme == "null":
            return None
        if address.scheme != "file":
            shown = redact_credentials(output)
            raise UsageError(
                f"{shown} is a device or network address; the input is a {source.kind}, so OUTPUT "
                f"must be {_what(source)}",
                code="output-not-a-file",
                address=shown,
                expected=source.kind,
            )
        path = Path(address.place)
        if source.kind != "folder" and names_a_folder(address.place):
            raise _folder_as_output(source, path, shown=output)
    _check_kind(source, path)
    _check_apart(source, path)
    if os.path.lexists(path) and not force:
        raise OutputExistsError(path)
    return path


def output_suffix(path: Path) -> str:
    """Return the suffix of the output for a picture or video.

    If the format of the input can be written, the output has the suffix of the input. Otherwise,
    the suffix is `.mp4` for a video and `.jpg` for a picture.

    Example:
        >>> [output_suffix(Path(name)) for name in ("a.JPG", "a.heic", "a.webm")]
        ['.JPG', '.jpg', '.mp4']
    """
    suffix = path.suffix.lower()
    if suffix in (*PICTURE_OUTPUT_SUFFIXES, *VIDEO_OUTPUT_SUFFIXES):
        return path.suffix
    return ".mp4" if suffix in VIDEO_SUFFIXES else ".jpg"


def pictures_in(folder: Path) -> tuple[list[Path], int]:
    """Return the pictures in a folder, sorted by name, and the number of other entries.

    Hidden entries, such as `.name`, are neither returned nor counted.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    pictures = [e for e in entries if e.is_file() and e.suffix.lower() in PICTURE_SUFFIXES]
    return pictures, len(entries) - len(pictures)


def files_in(folder: Path) -> tuple[list[Path], int]:
    """Return the pictures and videos in a folder, sorted by name, and the number of other entries.

    Hidden entries, such as `.name`, are neither returned nor counted.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    suffixes = (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)
    files = [e for e in entries if e.is_file() and e.suffix.lower() in suffixes]
    return files, len(entries) - len(files)


def output_names(files: Sequence[Path]) -> dict[Path, str]:
    """Return the output file name for each input file of a folder.

    If the format of a file can be written, the output has the name of the file. Otherwise, the
    output gets another suffix. If another output already has this new name, a number is added
    before the suffix. For example, if the folder contains `a.jpg`, the output for `a.heic` is
    `a-2.jpg`. Names that differ only in upper and lower case are treated as equal.
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


def unnamed_output(source: Source, number: int = 1) -> Path:
    """Return the default path of the output. The output is in the folder of the input.

    Args:
        source: the input.
        number: number that is appended to the name. With 1, no number is appended.
    """
    path = source.path if source.path.name not in ("", "..") else source.path.resolve()
    stem, suffix = (path.name, "") if source.kind == "folder" else (path.stem, output_suffix(path))
    return path.with_name(f"{stem}-redirected{'' if number == 1 else f'-{number}'}{suffix}")


def _unnamed(source: Source) -> Path:
    names = (unnamed_output(source, number) for number in count(1))
    return next(path for path in names if not os.path.lexists(path))


def _check_kind(source: Source, path: Path) -> None:
    if source.kind == "folder":
        if os.path.exists(path) and not os.path.isdir(path):
            raise UsageError(
                f"{source.path} is a folder, so OUTPUT must be a folder; {path} is a file",
                code="output-is-file",
                path=path,
                source=source.path,
            )
        if path.suffix.lower() in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES):
            raise UsageError(
                f"{source.path} is a folder, so OUTPUT must be a folder; {path.name} has the "
                "suffix of a picture or video",
                code="output-named-like-file",
                path=path,
                source=source.path,
            )
        return
    if os.path.isdir(path):
        raise _folder_as_output(source, path, shown=str(path))
    if (found := path_type(path)) not in ("missing", "file"):
        raise UsageError(
            f"{path} is a {found}, not a file; choose another OUTPUT",
            code="output-is-device",
            path=path,
            found=found,
        )
    suffixes = _OUTPUT_SUFFIXES[source.kind]
    if path.suffix.lower() not in suffixes:
        closest = closest_output(str(path))
        raise UsageError(
            f"{source.path} is a {source.kind}, so OUTPUT must end in {_listed(suffixes)}; "
            f"{path.name} {_ending(path)}{closest_form(closest)}",
            code="output-suffix-unsupported",
            path=path,
            suffix=path.suffix,
            expected=_listed(suffixes),
            closest=None if closest is None else redact_credentials(closest),
        )


def _folder_as_output(source: Source, path: Path, *, shown: str) -> UsageError:
    return UsageError(
        f"{shown} is a folder; add the file name, for example {path / source.path.name}",
        code="output-is-folder",
        path=path,
    )


def _check_apart(source: Source, path: Path) -> None:
    # `Path.resolve` raises an exception for a link that points to itself, so `realpath` is used.
    here, there = (Path(os.path.realpath(one)) for one in (source.path, path))
    if here == there:
        raise UsageError(
            f"{path} is the input itself; choose another OUTPUT", code="output-is-input", path=path
        )
    if there in here.parents:
        raise UsageError(
            f"{path} contains the input and would replace the input; choose another OUTPUT",
            code="output-contains-input",
            path=path,
            source=source.path,
        )


def _what(source: Source) -> str:
    if source.kind == "folder":
        return "a folder"
    return f"a {source.kind} file ({_listed(_OUTPUT_SUFFIXES[source.kind])})"


def _ending(path: Path) -> str:
    return f"has the suffix {path.suffix}" if path.suffix else "has no suffix"


def _listed(suffixes: tuple[str, ...]) -> str:
    return " ".join(suffixes)
