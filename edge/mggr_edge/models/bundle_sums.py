"""`SHA256SUMS`: the checksums of a bundle's files, as `sha256sum --check` reads them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from mggr_edge.errors import BundleError

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_OTHER_LINE = re.compile(r"([0-9a-fA-F]{64}) ([ *])(.+)")
_FORM = "64 lower-case hexadecimal digits, two spaces, a file name"


def checksum_lines(files: Mapping[str, bytes]) -> str:
    """The text of `SHA256SUMS`, readable by `sha256sum --check`."""
    return "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files))


def parse_sums(path: Path, content: bytes, *, file: str) -> dict[str, str]:
    """Reads checksums; lines may end as on Windows (CRLF).

    Args:
        path: of the bundle, for messages.
        content: of the file.
        file: its name, for messages.

    Returns:
        file name -> 64 lower-case hexadecimal digits.

    Raises:
        BundleError: it is no UTF-8, a line has another form, or a name is there twice.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(_lines(path, content, file), 1):
        where = f"{path}: line {number} of {file}"
        match = _LINE.fullmatch(line)
        if match is None:
            raise BundleError(f"{where} {_fault(line)}")
        digest, name = match.groups()
        if name in sums:
            raise BundleError(f"{path}: {file} names {name} twice; copy the bundle again")
        sums[name] = digest
    return sums


def _lines(path: Path, content: bytes, file: str) -> list[str]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(
            f"{path}: {file} begins with {content[:4]!r} and is no UTF-8 text; save it as UTF-8 "
            "without a byte order mark, or copy the bundle again"
        ) from error
    if text.startswith("\ufeff"):
        raise BundleError(
            f"{path}: {file} begins with a byte order mark; save it as UTF-8 without one, or copy "
            "the bundle again"
        )
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _fault(line: str) -> str:
    """Why a line is refused, and what to do."""
    other = _OTHER_LINE.fullmatch(line)
    if other is not None and other[2] == "*":
        return f"marks {other[3]} with '*' (binary mode); write two spaces before the name"
    if other is not None and other[1] != other[1].lower():
        return f"has capital letters in the checksum of {other[3]}; write it in lower case"
    shown = line if len(line) <= 80 else f"{line[:80]}..."
    return f"is {shown!r}, expected {_FORM}; copy the bundle again"
