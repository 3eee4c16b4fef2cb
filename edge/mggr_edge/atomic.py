"""Outputs that appear whole or not at all.

Everything is written under a temporary name beside its target and renamed at
the end. What fails, or is interrupted with Ctrl-C, leaves nothing behind; what
is killed outright leaves a file or folder with `.partial-` in its name.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from mggr_edge.errors import DiskError, OutputExistsError, UsageError

TAKES_NO_MORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What the system says of a disk that is full, over a quota or read-only."""

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{8}(\.|$)")

_LONGEST_NAME = 255
"""Bytes, on every usual file system."""


@contextmanager
def atomic_file(
    path: str | Path, *, force: bool = False, elsewhere: Callable[[Path], None] | None = None
) -> Iterator[Path]:
    """Gives a temporary path to write a file to; it becomes `path` on success.

    The temporary name keeps the suffix, by which many writers choose a format,
    and carries nobody's tight permissions, as `mkstemp` would.

    Args:
        path: the target; its folder must exist.
        force: an existing file may be replaced.
        elsewhere: for what cannot be made again: where the target came into being meanwhile, the
            file gets the next free name beside it, and this is told which.

    Raises:
        OutputExistsError: the target exists and `force` is false; also when it
            came into being meanwhile, and `elsewhere` is None.
        UsageError: the target is a folder, or its own folder does not exist.
        DiskError: the disk takes no more.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_file(Path(folder) / "note.txt") as temporary:
        ...         _ = temporary.write_text("all of it")
        ...     (Path(folder) / "note.txt").read_text()
        'all of it'
    """
    target = Path(path)
    _check_file(target, force=force)
    temporary = _temporary_name(target)
    try:
        with _told_about_the_disk(target):
            yield temporary
            _sync(temporary)
            if elsewhere is not None and not force and os.path.lexists(target):
                target = _free_beside(target)
                elsewhere(target)
            _check_file(target, force=force)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Gives a temporary, empty folder to fill; it becomes `path` on success.

    With `force` an existing folder is moved aside, the new one moved in, and
    only then the old one deleted: at every moment one of them is whole.

    Args:
        path: the target; the folder around it must exist.
        force: an existing folder may be replaced, with all that is in it.

    Raises:
        OutputExistsError: the target exists and `force` is false; also when it
            came into being meanwhile.
        UsageError: the target is a file, or the folder around it does not exist.
        DiskError: the disk takes no more.
    """
    target = Path(path)
    _check_folder(target, force=force)
    temporary = _temporary_name(target)
    try:
        with _told_about_the_disk(target):
            temporary.mkdir()
            yield temporary
            move_folder(temporary, target, force=force)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_partial(path: Path) -> bool:
    """Whether it has a temporary name, as what was killed leaves it.

    Example:
        >>> [is_partial(Path(name)) for name in ("fine.partial-0a1b2c3d.npz", "fine.npz")]
        [True, False]
    """
    return _PARTIAL.search(path.name) is not None


def move_folder(folder: Path, path: str | Path, *, force: bool = False) -> None:
    """Gives a folder that is whole its name, as `atomic_folder` does; on failure it keeps its own.

    Args:
        folder: on the same file system.
        path: the target; the folder around it must exist.
        force: an existing folder may be replaced, with all that is in it.

    Raises:
        OutputExistsError: the target exists and `force` is false.
        UsageError: the target is a file, or the folder around it does not exist.
    """
    target = Path(path)
    _check_folder(target, force=force)
    _move_in(folder, target)


@contextmanager
def _told_about_the_disk(target: Path) -> Iterator[None]:
    """Says of a full disk what was to be written, and that nothing of it is left."""
    try:
        yield
    except OSError as error:
        if error.errno not in TAKES_NO_MORE:
            raise
        reason = (error.strerror or str(error)).lower()
        raise DiskError(f"{target} was not written, nothing of it is left: {reason}") from error


def _move_in(temporary: Path, target: Path) -> None:
    if not os.path.lexists(target):
        temporary.rename(target)
        return
    aside = _temporary_name(target)
    target.rename(aside)
    try:
        temporary.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    if aside.is_symlink():
        aside.unlink()
    else:
        shutil.rmtree(aside)


def _check_file(target: Path, *, force: bool) -> None:
    _check_place(target)
    if os.path.isdir(target):
        raise UsageError(f"{target} is a folder; a file is to be written: name one")
    if os.path.lexists(target) and not force:
        raise OutputExistsError(target)


def _check_folder(target: Path, *, force: bool) -> None:
    _check_place(target)
    if os.path.exists(target) and not os.path.isdir(target):
        raise UsageError(f"{target} is a file; a folder is to be written: name another")
    if os.path.lexists(target) and not force:
        raise OutputExistsError(target)


def _check_place(target: Path) -> None:
    if not target.name:
        raise UsageError(f"{str(target)!r} cannot be written to; name a file or folder in it")
    if not os.path.isdir(target.parent):
        raise UsageError(f"{target} cannot be written: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{target} cannot be written: no permission in {target.parent}")
    try:
        target.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name that is too long, or none
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{target} cannot be written: {reason.lower()}") from error


def _temporary_name(target: Path) -> Path:
    # Beside the target, because a rename is atomic only within one file system.
    ending = f".partial-{secrets.token_hex(4)}{target.suffix}"
    room = _LONGEST_NAME - len(os.fsencode(ending))
    return target.with_name(os.fsdecode(os.fsencode(target.stem)[:room]) + ending)


def _free_beside(target: Path) -> Path:
    names = (target.with_name(f"{target.stem}-{n}{target.suffix}") for n in count(2))
    return next(path for path in names if not os.path.lexists(path))


def _sync(file: Path) -> None:
    """Makes the content durable before the name is: else a power cut leaves an empty file."""
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
