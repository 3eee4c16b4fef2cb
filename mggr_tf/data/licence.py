"""The licence of a source, in a file beside its patches."""

from __future__ import annotations

from pathlib import Path

from mggr_edge.errors import DataError

LICENCE_FILE = "licence.txt"


def read_licence(folder: Path, *, otherwise: str) -> str:
    """The text of `licence.txt` on one line, or `otherwise` where there is none.

    Raises:
        DataError: the file says nothing, or is no text.
    """
    file = folder / LICENCE_FILE
    if not file.is_file():
        return otherwise
    try:
        text = " ".join(file.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text; save it as such") from error
    if not text:
        raise DataError(f"{file} is empty; say in a line what the pictures may be used for")
    return text
