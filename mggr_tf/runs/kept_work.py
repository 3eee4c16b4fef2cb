"""What is said when a run can no longer be written: why, what of it is kept, how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from mggr_edge.errors import DiskError, MggrError, UsageError
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.data.tensorflow_disk import disk_reason
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import RunRecord


@contextmanager
def told_what_is_kept(run: RunFolder, stage: Stage) -> Iterator[None]:
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


def go_on(run: RunFolder, stage: Stage) -> str:
    """The command that goes on with a run."""
    return f"mggr-tf train --stage {stage} --out {shlex.quote(str(run.path))} --resume"


def _with_what_is_kept(reason: str, run: RunFolder, stage: Stage) -> DiskError:
    return DiskError(
        f"{reason}. Kept: {kept(run.record)}. When {run.path} can be written again, go on with: "
        f"{go_on(run, stage)}"
    )


def _reason(error: OSError | MggrError) -> str:
    if isinstance(error, MggrError):
        return str(error)
    what = (error.strerror or str(error)).lower()
    return what if error.filename is None else f"{error.filename}: {what}"
