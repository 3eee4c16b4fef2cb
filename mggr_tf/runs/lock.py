"""Lock of a run folder, checks for write access, and error messages for disk errors."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
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
"""Error numbers of file systems that do not support locks. On these file systems, training uses no
lock."""


@contextmanager
def only_training(folder: Path) -> Iterator[None]:
    """Lock a run folder, so that no other training can use it at the same time.

    If the process exits or is killed, the operating system releases the lock. Therefore a killed
    process does not block the next process. This function also removes incomplete files of killed
    processes.

    Args:
        folder: run folder, which must exist.

    Raises:
        RunError: another training has locked the folder.
        DiskError: the folder is not writable.
    """
    check_is_writable(folder)
    with _opened(folder / LOCK) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder}: another training uses this folder; wait until it ends, or stop it",
                code="training-already-running",
                path=folder,
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        else:
            _remove_what_kills_left(folder)
        yield


def _remove_what_kills_left(folder: Path) -> None:
    """Remove the incomplete files of killed processes.

    A process must lock the folder before it calls this function. Without the lock, a running
    process may still be writing these files.
    """
    for path in sorted(filter(is_partial, folder.rglob("*.partial-*"))):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # the loop may have removed its folder already


def check_is_writable(folder: Path) -> None:
    """Check that a folder is writable. If the folder does not exist, check that it can be created.

    Raises:
        DiskError: the folder is not writable. The message contains the reason, and the path that is
            not writable.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise DiskError(
            f"{folder} is not writable: {there} is not a folder; choose another folder",
            code="not-a-folder",
            path=folder,
            at=there,
        )
    within = [] if there != folder else [str(path) for path in folder.iterdir() if path.is_dir()]
    for path in (str(there), *within):
        if not os.access(path, os.W_OK | os.X_OK):
            code, reason = _why_not(path)
            raise DiskError(
                f"{folder} is not writable: {reason}; change this, or choose another folder",
                code=code,
                path=folder,
                at=path,
            )


def _why_not(path: str) -> tuple[str, str]:
    """Return the error code and the reason why a path is not writable."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "file-system-read-only", f"{path} is on a read-only file system"
    return "no-write-permission", f"no write permission for {path}"


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DiskError(
            f"{file.parent} is not writable: {file}: {reason}",
            code="lock-not-written",
            path=file,
            reason=reason,
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def explained_interruption(run: RunFolder, stage: Stage) -> Iterator[None]:
    """Convert disk errors during a training to a `DiskError` with a short message.

    The message contains the completed stages and the command that resumes the training.

    Args:
        run: run that is trained.
        stage: last stage to train.

    Raises:
        DiskError: the disk is full, read-only or missing, or write access is not permitted.
    """
    try:
        yield
    except BrokenPipeError:  # the process that reads the progress line has exited, no disk error
        raise
    except (OSError, DiskError, UsageError) as error:
        raise _with_what_is_kept(_reason(error), run, stage, _fields(error)) from error
    except tf.errors.OpError as error:
        # TensorFlow writes the TensorBoard events. TensorFlow raises the same error for a full disk
        # and for a lack of memory. Therefore convert only errors whose message contains the path of
        # this run.
        if str(run.path) not in error.message:
            raise
        reason = disk_reason(error)
        raise _with_what_is_kept(reason, run, stage, {"reason": reason}) from error


def kept(record: RunRecord) -> str:
    """Return a text that lists the completed stages and steps of a run."""
    parts = []
    for stage in STAGES:
        if (known := record.stages.get(stage)) is not None:
            part = f"{stage} up to step {known.done}" if known.done else f"no steps of {stage}"
            parts.append(f"{stage} complete" if known.complete else part)
    return ", ".join(parts) or "no training steps"


def resume_command(run: RunFolder, stage: Stage) -> str:
    """Return the command that resumes a run."""
    return f"mggr-tf train --stage {stage} --out {shlex.quote(str(run.path))} --resume"


def _with_what_is_kept(
    reason: str, run: RunFolder, stage: Stage, fields: Mapping[str, object]
) -> DiskError:
    command = resume_command(run, stage)
    return DiskError(
        f"{reason}. Kept: {kept(run.record)}. When {run.path} is writable again, resume with: "
        f"{command}",
        code="training-not-written",
        **{**fields, "run": run.path, "kept": kept(run.record), "command": command},
    )


def _fields(error: OSError | MggrError) -> Mapping[str, object]:
    if isinstance(error, MggrError):
        return {**error.fields, "cause": error.code}
    return {"path": error.filename, "reason": (error.strerror or str(error)).lower()}


def _reason(error: OSError | MggrError) -> str:
    if isinstance(error, MggrError):
        return str(error)
    what = (error.strerror or str(error)).lower()
    return what if error.filename is None else f"{error.filename}: {what}"
