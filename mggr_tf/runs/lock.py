"""The lock of a run folder, and work that must not be overwritten."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from mggr_edge.common.atomic import is_partial
from mggr_edge.errors import DiskError, MggrError, RunError, UsageError
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.data.processes import disk_reason
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import RunRecord

LOCK = ".lock"

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS})
"""What file systems say that know no locks; they are trained on without."""


@contextmanager
def only_training(folder: Path) -> Iterator[None]:
    """Holds a run folder for one training, and for the time that it lasts.

    The system lets go of it when the process ends, however it ends: nothing that was killed
    keeps the next one out, and what it left half written is removed.

    Args:
        folder: it exists.

    Raises:
        RunError: another training holds it.
        DiskError: it cannot be written to.
    """
    check_is_writable(folder)
    with _opened(folder / LOCK) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder}: another training is running in it; wait for its end, or stop it"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        else:
            _remove_what_kills_left(folder)
        yield


def _remove_what_kills_left(folder: Path) -> None:
    """Only for who holds the lock: to others it may be what is being written."""
    for path in sorted(filter(is_partial, folder.rglob("*.partial-*"))):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # it may have been in a folder that is gone now


def check_is_writable(folder: Path) -> None:
    """Refuses a folder, or one that is still to be made, in which nothing can be written.

    Raises:
        DiskError: it cannot; says which folder is in the way, and why.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise DiskError(f"{folder} cannot be written to: {there} is no folder")
    within = [] if there != folder else [str(path) for path in folder.iterdir() if path.is_dir()]
    for path in (str(there), *within):
        if not os.access(path, os.W_OK | os.X_OK):
            raise DiskError(
                f"{folder} cannot be written to: {_why_not(path)}; make it writable, or choose "
                "another place"
            )


def _why_not(path: str) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{path} lies on a read-only file system"
    return f"no permission in {path}"


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DiskError(f"{file.parent} cannot be written to: {file}: {reason}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def explained_interruption(run: RunFolder, stage: Stage) -> Iterator[None]:
    """Makes one line of whatever keeps a run from being written while it trains.

    Args:
        run: what is trained within.
        stage: the last one to train.

    Raises:
        DiskError: the disk is full, read-only, gone or forbidden.
    """
    try:
        yield
    except BrokenPipeError:  # the reader of the progress line went away; the run is fine
        raise
    except (OSError, DiskError, UsageError) as error:
        raise _with_what_is_kept(_reason(error), run, stage) from error
    except tf.errors.OpError as error:
        # TensorBoard's events are written by TensorFlow, which says ResourceExhausted of a
        # full disk as of a full memory.
        if str(run.path) not in error.message:
            raise
        raise _with_what_is_kept(disk_reason(error), run, stage) from error


def kept(record: RunRecord) -> str:
    """What a run holds, in words."""
    parts = []
    for stage in STAGES:
        if (known := record.stages.get(stage)) is not None:
            part = f"{stage} up to step {known.done}" if known.done else f"nothing of {stage}"
            parts.append(f"{stage} whole" if known.complete else part)
    return ", ".join(parts) or "nothing was trained yet"


def resume_command(run: RunFolder, stage: Stage) -> str:
    """The command that goes on with a run."""
    return f"mggr-tf train --stage {stage} --out {shlex.quote(str(run.path))} --resume"


def _with_what_is_kept(reason: str, run: RunFolder, stage: Stage) -> DiskError:
    return DiskError(
        f"{reason}. Kept: {kept(run.record)}. When {run.path} can be written again, go on with: "
        f"{resume_command(run, stage)}"
    )


def _reason(error: OSError | MggrError) -> str:
    if isinstance(error, MggrError):
        return str(error)
    what = (error.strerror or str(error)).lower()
    return what if error.filename is None else f"{error.filename}: {what}"
