"""Outputs that appear whole or not at all.

Everything is written under a temporary name beside its target and renamed at
the end. What fails, or is interrupted with Ctrl-C, leaves nothing behind; what
is killed outright leaves a file or folder with `.partial-` in its name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

from mggr_edge.errors import DiskError, OutputExistsError, UsageError

TAKES_NO_MORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What the system says of a disk that is full, over a quota or read-only."""

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{8}(\.|$)")

_LONGEST_NAME = 255
"""Bytes, on every usual file system."""

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
"""Of Linux' <fcntl.h> and <linux/fs.h>."""
_NO_SUCH_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM})
"""What file systems such as NFS answer to a rename that must not replace."""


@contextmanager
def atomic_file(
    path: str | Path,
    *,
    force: bool = False,
    elsewhere: Callable[[Path], None] | None = None,
    numbered: Callable[[int], Path] | None = None,
) -> Iterator[Path]:
    """Gives a temporary path to write a file to; it becomes `path` on success.

    The temporary name keeps the suffix, by which many writers choose a format,
    and carries nobody's tight permissions, as `mkstemp` would.

    Args:
        path: the target; its folder must exist.
        force: an existing file may be replaced.
        elsewhere: for what cannot be made again: where the target came into being meanwhile, the
            file gets the next free name beside it, and this is called with it.
        numbered: the names to try in that case, for 2, 3, ...; None appends the number.

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
        with _disk_errors_explained(target):
            yield temporary
            _sync(temporary)
            if elsewhere is None:
                _check_file(target, force=force)
            if force:
                os.replace(temporary, target)
            else:
                _move_to_free_name(temporary, target, elsewhere, numbered)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(
    path: str | Path,
    *,
    force: bool = False,
    elsewhere: Callable[[Path], None] | None = None,
    numbered: Callable[[int], Path] | None = None,
) -> Iterator[Path]:
    """Gives a temporary, empty folder to fill; it becomes `path` on success.

    With `force` an existing folder is moved aside, the new one moved in, and
    only then the old one deleted: at every moment one of them is whole.

    Args:
        path: the target; the folder around it must exist.
        force: an existing folder may be replaced, with all that is in it.
        elsewhere: see `atomic_file`.
        numbered: see `atomic_file`.

    Raises:
        OutputExistsError: the target exists and `force` is false; also when it
            came into being meanwhile, and `elsewhere` is None.
        UsageError: the target is a file, or the folder around it does not exist.
        DiskError: the disk takes no more.
    """
    target = Path(path)
    _check_folder(target, force=force)
    temporary = _temporary_name(target)
    try:
        with _disk_errors_explained(target):
            temporary.mkdir()
            yield temporary
            if elsewhere is None or force:
                move_folder(temporary, target, force=force)
            else:
                numbered = numbered or partial(_numbered_folder, target)
                _move_to_free_name(temporary, target, elsewhere, numbered)
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
    if force:
        _move_in(folder, target)
    else:
        _move_to_free_name(folder, target, None, None)


@contextmanager
def reserved_folder(path: str | Path) -> Iterator[Path]:
    """Creates an empty folder under the first free name of `path`, `path-2`, `path-3`, ...

    No other process gets the same one. A folder that is still empty at the end is removed.

    Raises:
        UsageError: the folder around it cannot be written to.
    """
    target = Path(path)
    check_place(target)
    folder = made_folder(target)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it is not empty, or gone
            folder.rmdir()


def made_folder(path: Path) -> Path:
    """Creates a folder, and those around it, under the first free name of `path`, `path-2`, ...

    Raises:
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for candidate in _names(path, partial(_numbered_folder, path)):
        try:
            candidate.mkdir()
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("there is always another number")


@contextmanager
def _disk_errors_explained(target: Path) -> Iterator[None]:
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
    check_place(target)
    if os.path.isdir(target):
        raise UsageError(f"{target} is a folder; a file is to be written: name one")
    if os.path.lexists(target) and not force:
        raise OutputExistsError(target)


def _check_folder(target: Path, *, force: bool) -> None:
    check_place(target)
    if os.path.exists(target) and not os.path.isdir(target):
        raise UsageError(f"{target} is a file; a folder is to be written: name another")
    if os.path.lexists(target) and not force:
        raise OutputExistsError(target)


def check_place(target: Path) -> None:
    """Checks that files can be made where a target is to be written.

    Raises:
        UsageError: the target has no name, or its folder does not exist or is not writable.
    """
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
    return _with_ending(target, f".partial-{secrets.token_hex(4)}{target.suffix}")


def _with_ending(target: Path, ending: str) -> Path:
    """The target's stem, shortened if the name would be too long for a file system, and an end."""
    room = _LONGEST_NAME - len(os.fsencode(ending))
    return target.with_name(os.fsdecode(os.fsencode(target.stem)[:room]) + ending)


def _names(target: Path, numbered: Callable[[int], Path] | None) -> Iterator[Path]:
    yield target
    for number in count(2):
        if numbered is None:
            yield _with_ending(target, f"-{number}{target.suffix}")
        else:
            yield numbered(number)


def _numbered_folder(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}-{number}")


def _move_to_free_name(
    temporary: Path,
    target: Path,
    elsewhere: Callable[[Path], None] | None,
    numbered: Callable[[int], Path] | None,
) -> None:
    """Renames a file or folder, and replaces nothing, whatever other processes do meanwhile."""
    for path in _names(target, numbered):
        try:
            _rename_to_new(temporary, path)
        except FileExistsError:
            if elsewhere is None:
                raise OutputExistsError(target) from None
            continue
        if elsewhere is not None and path != target:
            elsewhere(path)
        return


def _rename_to_new(old: Path, new: Path) -> None:
    """Renames without replacing anything.

    Raises:
        FileExistsError: the new name exists.
        OSError: it cannot be renamed.
    """
    try:
        _rename_by_kernel(old, new)
    except OSError as error:
        if error.errno not in _NO_SUCH_RENAME:
            raise
        # An empty file or folder that only this process made, which the rename replaces.
        is_folder = old.is_dir()
        if is_folder:
            new.mkdir()
        else:
            new.open("x").close()
        try:
            old.rename(new)
        except OSError:
            (new.rmdir if is_folder else new.unlink)()
            raise


def _rename_by_kernel(old: Path, new: Path) -> None:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError as error:  # not Linux, or a C library older than the call
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    names = os.fsencode(old), os.fsencode(new)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(old), None, str(new))


def _sync(file: Path) -> None:
    """Makes the content durable before the name is: else a power cut leaves an empty file."""
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
