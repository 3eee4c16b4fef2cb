"""Files that are read back before they are taken for written."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from mggr_edge.errors import StreamError


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file and compares what is there with what was to be written.

    Raises:
        StreamError: it cannot be written, such as on a full disk; nothing is left of it.
    """
    try:
        # Not cv2.imwrite or Image.save: they cannot write to every file name on every system.
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        is_whole = path.read_bytes() == content
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StreamError(f"{path} cannot be written: {error.strerror}") from error
    _refuse_unless(path, is_whole=is_whole)


def copy_whole(source: Path, path: Path) -> None:
    """Copies a file and compares the two.

    Raises:
        StreamError: it cannot be copied, such as onto a full disk; nothing is left of it.
    """
    try:
        shutil.copyfile(source, path)
        is_whole = filecmp.cmp(source, path, shallow=False)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StreamError(f"{source} cannot be copied to {path}: {error.strerror}") from error
    _refuse_unless(path, is_whole=is_whole)


def _refuse_unless(path: Path, *, is_whole: bool) -> None:
    if not is_whole:
        path.unlink(missing_ok=True)
        raise StreamError(f"{path} does not hold what was written to it; check the disk")
