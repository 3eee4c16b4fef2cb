"""Write files and folders atomically: an output is either complete or missing.

Each output is first written under a temporary name in the folder of its target. At the end, the
output is renamed to the target. If writing fails or is interrupted with Ctrl-C, the temporary
output is removed. If the process is killed, a file or folder with `.partial-` in its name remains.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

from mggr_edge.errors import DiskError, OutputExistsError, UsageError

TAKES_NO_MORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Error numbers after which a disk accepts no more data.

The disk is full, over its quota or read-only, or the file has reached the maximum file size.
"""

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{8}(\.|$)")

_LONGEST_NAME = 255
"""Maximum length of a file name in bytes, on every usual file system."""

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
"""Constants from Linux's <fcntl.h> and <linux/fs.h>."""
_NO_SUCH_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM})
"""Error numbers of file systems, such as NFS, that do not support `_RENAME_NOREPLACE`."""


@contextmanager
def atomic_file(
    path: str | Path,
    *,
    force: bool = False,
    elsewhere: Callable[[Path], None] | None = None,
    numbered: Callable[[int], Path] | None = None,
) -> Iterator[Path]:
    """Yield a temporary path for a new file, and rename this file to `path` on success.

    The temporary name keeps the suffix, because many writers choose the format by the suffix. The
    file gets the usual permissions, not the restrictive permissions that `mkstemp` sets.

    Args:
        path: the target. Its folder must exist.
        force: whether an existing file may be replaced.
        elsewhere: callback for outputs that cannot be produced again, such as recordings. Another
            process may create the target before the output is complete. Then the output gets the
            next free name in the same folder, and the callback receives the new path. With `None`,
            an error is raised instead.
        numbered: function that returns a new name for a number. It is called with 2, 3, ... until
            a name is free. With `None`, the number is appended to the stem.

    Raises:
        OutputExistsError: the target exists and `force` is false. With `elsewhere`, the error is
            raised only if the target exists at the start.
        UsageError: the target is a folder, or its parent folder does not exist or is not writable.
        DiskError: the disk is full, over its quota, or read-only.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_file(Path(folder) / "note.txt") as temporary:
        ...         _ = temporary.write_text("all of it")
        ...     (Path(folder) / "note.txt").read_text()
        'all of it'
    """
    target = Path(path)
    _check(target, force=force, as_folder=False)
    temporary = _temporary_name(target)
    try:
        with _disk_errors_explained(target):
            yield temporary
            _sync(temporary)
            if elsewhere is None:
                _check(target, force=force, as_folder=False)
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
    """Yield a temporary, empty folder to fill, and rename this folder to `path` on success.

    With `force`, an existing folder is replaced in three steps. The old folder is renamed, the new
    folder gets its name, and then the old folder is deleted. One of the two folders is complete at
    any time.

    Args:
        path: the target. Its parent folder must exist.
        force: whether an existing folder may be replaced, with all its content.
        elsewhere: see `atomic_file`. It is ignored with `force`.
        numbered: see `atomic_file`. With `None`, the number is appended to the folder's name.

    Raises:
        OutputExistsError: the target exists and `force` is false. With `elsewhere`, the error is
            raised only if the target exists at the start.
        UsageError: the target is a file, or its parent folder does not exist or is not writable.
        DiskError: the disk is full, over its quota, or read-only.
    """
    target = Path(path)
    _check(target, force=force, as_folder=True)
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
    """Return whether a path has the temporary name of an incomplete output.

    Such files and folders remain if a process is killed.

    Example:
        >>> [is_partial(Path(name)) for name in ("fine.partial-0a1b2c3d.npz", "fine.npz")]
        [True, False]
    """
    return _PARTIAL.search(path.name) is not None


def move_folder(folder: Path, path: str | Path, *, force: bool = False) -> None:
    """Rename a complete folder to `path`, as `atomic_folder` does at its end.

    If the rename fails, the folder keeps its old name.

    Args:
        folder: the folder to rename. It must be on the same file system as `path`.
        path: the target. Its parent folder must exist.
        force: whether an existing folder may be replaced, with all its content.

    Raises:
        OutputExistsError: the target exists and `force` is false.
        UsageError: the target is a file, or its parent folder does not exist or is not writable.
    """
    target = Path(path)
    _check(target, force=force, as_folder=True)
    if force:
        _move_in(folder, target)
    else:
        _move_to_free_name(folder, target, None, None)


@contextmanager
def reserved_folder(path: str | Path) -> Iterator[Path]:
    """Create an empty folder under the first free name of `path`, `path-2`, `path-3`, ...

    No other process gets the same folder. If the folder is still empty at the end, it is removed.

    Raises:
        UsageError: the parent folder does not exist or is not writable.
    """
    target = Path(path)
    check_place(target)
    folder = made_folder(target)
    try:
        yield folder
    finally:
        with suppress(OSError):  # the folder is not empty, or no longer exists
            folder.rmdir()


def made_folder(path: Path) -> Path:
    """Create a folder and its parents under the first free name of `path`, `path-2`, ...

    Raises:
        OSError: the folder cannot be created.
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
    """Convert errors of a full or read-only disk to a `DiskError` with the path of the target."""
    try:
        yield
    except OSError as error:
        if error.errno not in TAKES_NO_MORE:
            raise
        reason = (error.strerror or str(error)).lower()
        raise DiskError(
            f"{target} was not written: {reason}; the incomplete output was removed",
            code="output-not-written",
            path=target,
            reason=reason,
        ) from error


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


def _check(target: Path, *, force: bool, as_folder: bool) -> None:
    """Check that a file, or with `as_folder` a folder, can be written to the target."""
    check_place(target)
    if os.path.exists(target) and os.path.isdir(target) != as_folder:
        found, wanted = ("file", "folder") if as_folder else ("folder", "file")
        raise UsageError(
            f"{target} is a {found}, but the output must be a {wanted}; choose another name",
            code="output-is-file" if as_folder else "output-is-folder",
            path=target,
        )
    if os.path.lexists(target) and not force:
        raise OutputExistsError(target)


def check_place(target: Path) -> None:
    """Check that files can be created in the folder of a target.

    Raises:
        UsageError: the target has no name or an invalid name, or its folder does not exist or is
            not writable.
    """
    if not target.name:
        raise UsageError(
            f"{str(target)!r} cannot be replaced; name a file or folder in it",
            code="output-without-name",
            path=target,
        )
    if not os.path.isdir(target.parent):
        raise UsageError(
            f"{target} cannot be written: the folder {target.parent} does not exist; create it",
            code="output-folder-missing",
            path=target,
            folder=target.parent,
        )
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UsageError(
            f"{target} cannot be written: no write permission for the folder {target.parent}",
            code="output-folder-not-writable",
            path=target,
            folder=target.parent,
        )
    try:
        target.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # the name is too long or invalid
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{target} cannot be written: {reason.lower()}",
            code="output-name-invalid",
            path=target,
            reason=reason.lower(),
        ) from error


def _temporary_name(target: Path) -> Path:
    # The name is in the folder of the target, because a rename is atomic only within a file system.
    return _with_ending(target, f".partial-{secrets.token_hex(4)}{target.suffix}")


def _with_ending(target: Path, ending: str) -> Path:
    """Replace everything after the stem of the target by another ending.

    The stem is shortened if the name would otherwise be too long for a file system.
    """
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
    """Rename a file or folder to `target` without replacing an existing file or folder.

    This is safe even if other processes create files at the same time. If the target exists and
    `elsewhere` is not `None`, the next free name is used and `elsewhere` is called with it.

    Raises:
        OutputExistsError: the target exists and `elsewhere` is `None`.
    """
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
    """Rename without replacing an existing file or folder.

    Raises:
        FileExistsError: the new name exists.
        OSError: the file or folder cannot be renamed.
    """
    try:
        _rename_by_kernel(old, new)
    except OSError as error:
        if error.errno not in _NO_SUCH_RENAME:
            raise
        # Fallback: first create an empty file or folder under the new name. This fails if the name
        # exists. The rename then replaces only the file or folder that this process created.
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
    if sys.platform == "win32":
        old.rename(new)  # Windows never replaces an existing file.
        return
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError as error:  # not Linux, or the C library lacks this function
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    names = os.fsencode(old), os.fsencode(new)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(old), None, str(new))


def _sync(file: Path) -> None:
    """Flush the content to disk before the rename.

    Without this step, a power failure after the rename could leave an empty file under the final
    name.
    """
    # Windows can only flush files that are open for writing.
    with open(file, "r+b") as handle:
        os.fsync(handle.fileno())
