"""Read the files of a bundle from a folder or a zip file, and verify their checksums.

A bundle may come from an untrusted source. Therefore names, file types and sizes are checked
before a file is read, and each file is read in chunks up to its declared size. Zip files that a
file manager created are accepted, too: the bundle may be inside a single folder, and the file
manager's own files may be next to it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from mggr_edge.common.bounded_zip import (
    MOST_UNPACKED,
    UNREADABLE_ZIP,
    BoundedFile,
    check_entry,
    open_entry,
    read_declared,
)
from mggr_edge.errors import BundleError

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_OTHER_LINE = re.compile(r"([0-9a-fA-F]{64}) ([ *])(.+)")
_FORM = "64 lower-case hexadecimal digits, two spaces, a file name"


def checksum_lines(files: Mapping[str, bytes]) -> str:
    """Return the text of `SHA256SUMS` in the format of `sha256sum --check`."""
    return "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files))


def parse_sums(path: Path, content: bytes, *, file: str) -> dict[str, str]:
    """Parse a file of checksums; lines may have Windows line endings (CRLF).

    Args:
        path: the path of the bundle, for error messages.
        content: the content of the file.
        file: the name of the file, for error messages.

    Returns:
        file name -> 64 lower-case hexadecimal digits.

    Raises:
        BundleError: the content is not valid UTF-8, has a byte order mark, has a line in another
            form, or lists a name twice.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(_lines(path, content, file), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            code, fault = _fault(line)
            raise BundleError(
                f"{path}: line {number} of {file} {fault}",
                code=code,
                path=path,
                file=file,
                line=number,
            )
        digest, name = match.groups()
        if name in sums:
            raise BundleError(
                f"{path}: {file} lists {name} twice; copy the bundle again",
                code="checksum-duplicate",
                path=path,
                file=file,
                name=name,
            )
        sums[name] = digest
    return sums


def _lines(path: Path, content: bytes, file: str) -> list[str]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(
            f"{path}: {file} begins with {content[:4]!r} and is not valid UTF-8; save it as UTF-8 "
            "without a byte order mark, or copy the bundle again",
            code="checksums-not-utf8",
            path=path,
            file=file,
            found=content[:4],
        ) from error
    if text.startswith("\ufeff"):
        raise BundleError(
            f"{path}: {file} begins with a byte order mark; save it as UTF-8 without one, or copy "
            "the bundle again",
            code="checksums-with-byte-order-mark",
            path=path,
            file=file,
        )
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _fault(line: str) -> tuple[str, str]:
    """Return (error code, text): why a line is invalid, and how to correct it."""
    other = _OTHER_LINE.fullmatch(line)
    if other is not None and other[2] == "*":
        return (
            "checksum-binary-mode",
            f"marks {other[3]} with '*' (binary mode); write two spaces before the name",
        )
    if other is not None and other[1] != other[1].lower():
        return (
            "checksum-upper-case",
            f"has capital letters in the checksum of {other[3]}; write it in lower case",
        )
    shown = line if len(line) <= 80 else f"{line[:80]}..."
    return "checksum-line-invalid", f"is {shown!r}, expected {_FORM}; copy the bundle again"


CONTRACT_FILE = "contract.json"
SUMS_FILE = "SHA256SUMS"

_MOST_FILES = 10_000
"""Maximum number of files and folders.

A bundle has a few files per model and format; a folder that is not a bundle may have millions.
"""
_MOST_BYTES = 1 << 30
"""Maximum size of all files together; the packaged bundles have a hundredth of it."""
_MOST_TEXT_BYTES = 8 << 20
"""Maximum size of the contract and of the checksum file, which are parsed.

Those of the packaged bundles have 30 kB.
"""
_LEADS_AWAY = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)(\.{0,2})(/|$)")
"""Pattern of invalid paths.

A path is invalid if it is absolute, has a drive letter or a backslash, or has a part that is empty,
`.` or `..`.
"""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OF_FILE_MANAGERS = re.compile(
    r"(^|/)(__MACOSX/|\._[^/]*$|\.DS_Store$|thumbs\.db$|desktop\.ini$)", re.IGNORECASE
)
"""Files that the file managers of macOS and Windows create next to other files."""


@dataclass(frozen=True)
class _Listed:
    """List of a bundle's files before they are read.

    Attributes:
        sizes: name of each file -> its declared size in bytes.
        most_bytes: limit in bytes of the total size.
        open: function that opens a file by its name; reads from this file are not cut off at the
            declared size.
    """

    sizes: Mapping[str, int]
    most_bytes: int
    open: Callable[[str], IO[bytes]]


def read_bundle_files(path: Path) -> dict[str, bytes]:
    """Read every file of a bundle and verify it against `SHA256SUMS`.

    Files of file managers (`.DS_Store`, `__MACOSX/`, `._*`, `Thumbs.db`, `desktop.ini`) that
    `SHA256SUMS` does not list are ignored.

    Args:
        path: the folder or zip file of the bundle.

    Returns:
        POSIX path inside the bundle -> content, without `SHA256SUMS` itself.

    Raises:
        BundleError: the path is not a bundle; a file is missing, was changed, or is not listed in
            `SHA256SUMS`; or a file has an invalid name, type or size.
    """
    with _listed_zip(path) if os.path.isfile(path) else _listed_folder(path) as listed:
        names = set(listed.sizes)
        if not {SUMS_FILE, CONTRACT_FILE} <= names:
            raise _no_bundle(path)
        _check_sizes(path, listed)
        sums = parse_sums(path, _content(path, listed, SUMS_FILE), file=SUMS_FILE)
        files = {}
        for name in sorted(sums.keys() | names - {SUMS_FILE}):
            if name not in names:
                raise BundleError(
                    f"{path}: {name} is missing; copy the bundle again",
                    code="file-missing",
                    path=path,
                    file=name,
                )
            if name not in sums:
                if _OF_FILE_MANAGERS.search(name):
                    continue
                raise BundleError(
                    f"{path}: {name} is not listed in {SUMS_FILE}; remove it",
                    code="file-not-listed",
                    path=path,
                    file=name,
                )
            files[name] = _content(path, listed, name)
            if hashlib.sha256(files[name]).hexdigest() != sums[name]:
                raise BundleError(
                    f"{path}: {name} does not match its checksum; copy the bundle again",
                    code="checksum-wrong",
                    path=path,
                    file=name,
                )
    return files


def _no_bundle(path: Path, inner: str | None = None) -> BundleError:
    hint = "" if inner is None else f"; the bundle is in its subfolder, use {inner}"
    return BundleError(
        f"{path} is not a bundle: it lacks {CONTRACT_FILE} or {SUMS_FILE}{hint}",
        code="not-a-bundle",
        path=path,
        inner=inner,
    )


def _check_sizes(path: Path, listed: _Listed) -> None:
    total = sum(listed.sizes.values())
    if total > listed.most_bytes:
        raise BundleError(
            f"{path} has {total / 1e6:,.0f} MB of files, expected at most "
            f"{listed.most_bytes / 1e6:,.0f}; copy the bundle again",
            code="bundle-too-large",
            path=path,
            found=total,
            limit=listed.most_bytes,
        )
    for name in (CONTRACT_FILE, SUMS_FILE):
        if listed.sizes[name] > _MOST_TEXT_BYTES:
            raise BundleError(
                f"{path}: {name} has {listed.sizes[name] / 1e6:,.1f} MB, expected at most "
                f"{_MOST_TEXT_BYTES / 1e6:,.1f}; copy the bundle again",
                code="file-too-large",
                path=path,
                file=name,
                found=listed.sizes[name],
                limit=_MOST_TEXT_BYTES,
            )


def _content(path: Path, listed: _Listed, name: str) -> bytes:
    with listed.open(name) as file:
        return read_declared(file, listed.sizes[name], name=f"{path}: {name}")


def _check_names(path: Path, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if _LEADS_AWAY.search(name):
            raise BundleError(
                f"{path}: {name} is not a valid path inside a bundle; expected a relative path "
                "without '.', '..', backslashes or a drive letter",
                code="file-name-unsafe",
                path=path,
                file=name,
            )
        if _CONTROL.search(name):
            raise BundleError(
                f"{path}: {name!r} has control characters; rename the file",
                code="file-name-with-control-characters",
                path=path,
                file=name,
            )
        if name.casefold() in seen:
            raise BundleError(
                f"{path}: duplicate file name {name} (case-insensitive); copy the bundle again",
                code="file-name-duplicate",
                path=path,
                file=name,
            )
        seen.add(name.casefold())


def _check_count(path: Path, count: int) -> None:
    if count > _MOST_FILES:
        raise BundleError(
            f"{path} has more than {_MOST_FILES:,} files and folders, so it is not a bundle",
            code="too-many-files",
            path=path,
            limit=_MOST_FILES,
        )


@contextmanager
def _listed_folder(path: Path) -> Iterator[_Listed]:
    if not os.path.isdir(path):
        is_special = os.path.lexists(path)
        found = "is neither a file nor a folder" if is_special else "does not exist"
        raise BundleError(
            f"{path} {found}; a bundle is a folder or a zip of it",
            code="bundle-is-special-file" if is_special else "bundle-not-found",
            path=path,
        )
    try:
        # Check this first, so that a large folder that is not a bundle is not listed.
        if not all(os.path.lexists(path / name) for name in (CONTRACT_FILE, SUMS_FILE)):
            raise _no_bundle(path, _inner_bundle(path))
        sizes = dict(_files_of_folder(path))
        _check_names(path, sizes)
        yield _Listed(sizes, _MOST_BYTES, lambda name: _open_regular(path, name))
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"{path} cannot be read: {reason}", code="bundle-not-readable", path=path, reason=reason
        ) from error


def _inner_bundle(path: Path) -> str | None:
    """Return the path of the subfolder with a contract; None unless there is exactly one.

    Unpacking a zip file with an outer folder creates such a subfolder.
    """
    with os.scandir(path) as entries:
        inner = [one.path for one in entries if os.path.isfile(Path(one.path) / CONTRACT_FILE)]
    return inner[0] if len(inner) == 1 else None


def _files_of_folder(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and size in bytes of each file; links to files are followed."""
    folders, count = [path], 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                count += 1
                _check_count(path, count)
                name = Path(entry.path).relative_to(path).as_posix()
                if entry.is_file():
                    yield name, entry.stat().st_size
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    if entry.is_dir():
                        raise BundleError(
                            f"{path}: {name} is a link to a folder; remove it",
                            code="folder-link",
                            path=path,
                            file=name,
                        )
                    raise _special_file(path, name)


def _special_file(path: Path, name: str) -> BundleError:
    return BundleError(
        f"{path}: {name} is neither a file nor a folder; remove it",
        code="special-file",
        path=path,
        file=name,
    )


def _open_regular(path: Path, name: str) -> IO[bytes]:
    """Open a file without blocking, and check that it is a regular file.

    The file may have been replaced by a pipe or a device since it was listed.
    """

    def opener(file: str, flags: int) -> int:
        return os.open(file, flags | getattr(os, "O_NONBLOCK", 0))

    file = open(path / name, "rb", opener=opener)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _special_file(path, name)
    return file


@contextmanager
def _listed_zip(path: Path) -> Iterator[_Listed]:
    try:
        with BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_count(path, len(entries))
            for entry in entries:
                check_entry(path, entry)
            _check_names(path, [entry.filename.removesuffix("/") for entry in entries])
            files = {one.filename: one for one in entries if not one.is_dir()}
            root = _root_of(files)
            files = {
                name.removeprefix(root): one for name, one in files.items() if name.startswith(root)
            }
            sizes = {name: one.file_size for name, one in files.items()}
            most_bytes = min(_MOST_BYTES, MOST_UNPACKED * path.stat().st_size)
            yield _Listed(sizes, most_bytes, lambda name: open_entry(archive, files[name]))
    except UNREADABLE_ZIP as error:
        raise BundleError(
            f"{path} is not a bundle: {error}",
            code="zip-not-readable",
            path=path,
            reason=str(error),
        ) from error


def _root_of(names: Iterable[str]) -> str:
    """Return the top-level folder of a zip, with its slash, if it contains the whole bundle.

    The files of file managers are ignored. The result is an empty string if the zip has more than
    one top-level entry, or if the contract is not directly in the folder.
    """
    own = [name for name in names if not _OF_FILE_MANAGERS.search(name)]
    roots = {PurePosixPath(name).parts[0] for name in own}
    if len(roots) != 1:
        return ""
    root = f"{roots.pop()}/"
    return root if f"{root}{CONTRACT_FILE}" in own else ""
