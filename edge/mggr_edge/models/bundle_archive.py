"""Read the files of a bundle from a folder or a zip file, and verify their checksums.

A bundle may come from an untrusted source. Therefore names, file types and sizes are checked before
a file is read. Each file is read in chunks, up to its declared size.

Zip files that a file manager created are accepted, too. In such a zip, the bundle may be inside a
single folder. The file manager may have added its own files next to the bundle.
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
    check_names,
    open_entry,
    read_declared,
)
from mggr_edge.errors import BundleError

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_OTHER_LINE = re.compile(r"([0-9a-fA-F]{64}) ([ *])(.+)")
_FORM = "64 lower-case hexadecimal digits, two spaces, a file name"


def checksum_lines(files: Mapping[str, bytes]) -> str:
    """Return the text of `SHA256SUMS` in the format that `sha256sum --check` reads."""
    return "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files))


def parse_sums(path: Path, content: bytes, *, file: str) -> dict[str, str]:
    """Parse a file of checksums; its lines may have Windows line endings (CRLF).

    Args:
        path: the path of the bundle, for error messages.
        content: the content of the file.
        file: the name of the file, for error messages.

    Returns:
        A dict: file name -> checksum of 64 lower-case hexadecimal digits.

    Raises:
        BundleError: the content is not valid UTF-8, or it has a byte order mark. The error is also
            raised if a line has another form, or if a name occurs twice.
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
    """Return the error code for an invalid line, and a text with the reason and the correction."""
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
"""Maximum number of files and folders in a bundle.

A bundle has a few files per model and format. A folder that is not a bundle may have millions of
files.
"""
_MOST_BYTES = 1 << 30
"""Maximum total size of all files in bytes. Packaged bundles have a hundredth of this size."""
_MOST_TEXT_BYTES = 8 << 20
"""Maximum size in bytes of the contract and of the checksum file, because they are parsed.

In the packaged bundles, these two files together have less than 30 kB.
"""
_OF_FILE_MANAGERS = re.compile(
    r"(^|/)(__MACOSX/|\._[^/]*$|\.DS_Store$|thumbs\.db$|desktop\.ini$)", re.IGNORECASE
)
"""Files that the file managers of macOS and Windows create next to other files."""


@dataclass(frozen=True)
class _Listed:
    """A list of the files in a bundle, made before the files are read.

    Attributes:
        sizes: name of each file -> its declared size in bytes.
        most_bytes: maximum total size in bytes.
        open: function that opens a file by its name. The opened file can be read beyond its
            declared size.
    """

    sizes: Mapping[str, int]
    most_bytes: int
    open: Callable[[str], IO[bytes]]


def read_bundle_files(path: Path) -> dict[str, bytes]:
    """Read every file of a bundle and verify it against `SHA256SUMS`.

    Files of file managers (`.DS_Store`, `__MACOSX/`, `._*`, `Thumbs.db`, `desktop.ini`) are ignored
    unless `SHA256SUMS` lists them.

    Args:
        path: the folder or zip file of the bundle.

    Returns:
        A dict: POSIX path inside the bundle -> content. It does not contain `SHA256SUMS` itself.

    Raises:
        BundleError: the path is not a bundle, or a file has an invalid name, type or size. The
            error is also raised if a file is missing, was changed, or is not listed in
            `SHA256SUMS`.
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
                    f"{path}: the file {name} is not listed in {SUMS_FILE}; remove this file",
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
        # Check this first. A large folder that is not a bundle must not be listed.
        if not all(os.path.lexists(path / name) for name in (CONTRACT_FILE, SUMS_FILE)):
            raise _no_bundle(path, _inner_bundle(path))
        sizes = dict(_files_of_folder(path))
        check_names(path, sizes)
        yield _Listed(sizes, _MOST_BYTES, lambda name: _open_regular(path, name))
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"{path} cannot be read: {reason}", code="bundle-not-readable", path=path, reason=reason
        ) from error


def _inner_bundle(path: Path) -> str | None:
    """Return the path of the only subfolder that has a contract.

    The result is `None` if no subfolder or more than one subfolder has a contract. Such a subfolder
    exists if a zip file with an outer folder was unpacked.
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
                            f"{path}: {name} is a link to a folder; remove this link",
                            code="folder-link",
                            path=path,
                            file=name,
                        )
                    raise _special_file(path, name)


def _special_file(path: Path, name: str) -> BundleError:
    return BundleError(
        f"{path}: {name} is neither a file nor a folder; remove this entry",
        code="special-file",
        path=path,
        file=name,
    )


def _open_regular(path: Path, name: str) -> IO[bytes]:
    """Open a file without blocking, and check that it is a regular file.

    After the list was made, the file may have been replaced by a pipe or a device.
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
            check_names(path, [entry.filename.removesuffix("/") for entry in entries])
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
    """Return the top-level folder that contains the whole bundle, with a slash at the end.

    The files of file managers are ignored. The result is an empty string if the zip has more than
    one top-level entry. It is also empty if the contract is not directly in the top-level folder.
    """
    own = [name for name in names if not _OF_FILE_MANAGERS.search(name)]
    roots = {PurePosixPath(name).parts[0] for name in own}
    if len(roots) != 1:
        return ""
    root = f"{roots.pop()}/"
    return root if f"{root}{CONTRACT_FILE}" in own else ""
