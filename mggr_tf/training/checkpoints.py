"""Checkpoints of a stage. They are written atomically. Checksums are verified before loading.

A checkpoint contains the complete training state after a step::

    checkpoints/STAGE/
      step-00001200/    state.index and state.data-* (from TensorFlow), about.json (metadata)
      step-00001430/

`Checkpoints` writes a checkpoint to a folder with a temporary name, reads it back, and then renames
the folder. It keeps the newest few checkpoints, and also the checkpoint with the best validation
metric.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.folders import is_system_file
from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError, DiskError, RunError
from mggr_tf.data.processes import disk_reason

_PREFIX = "state"
_ABOUT = "about.json"
_STEP = "step/.ATTRIBUTES/VARIABLE_VALUE"
_LONGEST_REASON = 300
_UNREADABLE = (
    ValueError,
    AssertionError,
    IndexError,
    RuntimeError,
    OSError,
    ConfigError,
    tf.errors.OpError,
)
"""Errors that occur if a checkpoint is damaged or incomplete, or belongs to other networks."""


@dataclass(frozen=True)
class About:
    """Content of a checkpoint's `about.json`.

    Attributes:
        step: number of steps that were complete when the checkpoint was written.
        seed: seed of the run.
        files: SHA-256 of each file. The keys are the file names.
        metric: validation metric at this step. `None` if there was no validation.
    """

    step: int
    seed: int
    files: dict[str, str]
    metric: float | None = None


class Checkpoints:
    """Checkpoints of a stage in one folder.

    Args:
        folder: folder of the checkpoints. It is created with the first checkpoint.
        state: all objects to save and restore. The variable `step` ([] int64) is one of them.
        seed: seed of the run. The seed and the step determine all random numbers after the step.
        keep: number of newest checkpoints to keep. The best checkpoint is kept in addition.
        writes: whether this process writes files. With several workers, only one worker writes. But
            all workers must call `save`, because TensorFlow combines some values from all workers.
        warn: called with a message for each checkpoint that cannot be loaded.
    """

    def __init__(
        self,
        folder: Path,
        state: tf.train.Checkpoint,
        *,
        seed: int,
        keep: int,
        writes: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._state, self._seed, self._keep = folder, state, seed, keep
        self._writes, self._warn = writes, warn

    def save(self, step: int, *, metric: float | None = None) -> None:
        """Write a checkpoint. Then remove the checkpoints that are no longer needed.

        If an error occurs, the earlier checkpoints remain unchanged.

        Args:
            step: number of completed steps.
            metric: validation metric at this step. `None` if there was no validation.

        Raises:
            DiskError: the checkpoint could not be written.
            RunError: the checkpoint was read back, and its step number is wrong.
        """
        target = self._folder / f"step-{step:08d}"
        try:
            if not self._writes:
                with tempfile.TemporaryDirectory() as nowhere:
                    self._state.write(str(Path(nowhere) / _PREFIX))
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_folder(target, force=True) as temporary:
                self._state.write(str(temporary / _PREFIX))
                _check_written(temporary, step)
                about = About(step, self._seed, _checksums(temporary), metric)
                text = json.dumps(plain(about), indent=2, sort_keys=True)
                (temporary / _ABOUT).write_text(text + "\n", encoding="utf-8")
                _make_durable(temporary)
        except tf.errors.OpError as error:
            raise DiskError(
                f"{target} was not written: {disk_reason(error)}; the incomplete checkpoint was "
                "removed",
                code="checkpoint-not-written",
                path=target,
                reason=disk_reason(error),
            ) from error
        self._forget(step)

    def restore(self) -> int:
        """Load the newest checkpoint. If it cannot be loaded, try the next older one.

        Returns:
            Step of the checkpoint. The result is 0 if there are no checkpoints.

        Raises:
            RunError: there are checkpoints, but none of them can be loaded.
        """
        failure: RunError | None = None
        for path in reversed(self._there()):
            try:
                return self._load(path)
            except RunError as error:
                failure = failure or error
                self._warn(f"{error}; skipping this checkpoint")
        if failure is not None:
            raise failure
        return 0

    def restore_best(self) -> int | None:
        """Load the checkpoint with the best validation metric.

        If this checkpoint cannot be loaded, the method tries the next best one.

        Returns:
            Step of the checkpoint. `None` if no checkpoint with a validation metric can be loaded.
        """
        for path in self._validated():
            try:
                return self._load(path)
            except RunError as error:
                self._warn(f"{error}; skipping this checkpoint")
        return None

    def forget_after(self, step: int) -> None:
        """Remove checkpoints that are newer than `step`. If all are newer, keep all."""
        newer = [path for path in self._there() if _step_of(path) > step]
        if self._writes and len(newer) < len(self._there()):
            for path in newer:
                shutil.rmtree(path, ignore_errors=True)

    def clear_up(self) -> None:
        """Remove incomplete checkpoints of a process that was killed."""
        for path in self._folder.glob("*.partial-*") if self._writes else ():
            shutil.rmtree(path, ignore_errors=True)

    def _load(self, path: Path) -> int:
        try:
            about = _about(path)
            if _checksums(path) != about.files:
                raise _not_restored(path, "a checksum is wrong", code="checkpoint-checksum-wrong")
            if about.seed != self._seed:
                raise _not_restored(
                    path,
                    f"it was written with seed {about.seed}, but the run has seed {self._seed}",
                    code="checkpoint-seed-differs",
                    found=about.seed,
                    expected=self._seed,
                )
            self._state.read(str(path / _PREFIX)).assert_existing_objects_matched()
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
            raise _not_restored(path, reason, code="checkpoint-not-readable") from error
        return about.step

    def _there(self) -> list[Path]:
        """Return the folders of all checkpoints, sorted by step."""
        return sorted(self._folder.glob("step-" + 8 * "[0-9]"))

    def _validated(self) -> list[Path]:
        """Return the folders of all checkpoints with a validation metric. The best one is first."""
        found: list[tuple[float, int, Path]] = []
        for path in self._there():
            try:
                about = _about(path)
            except _UNREADABLE:
                continue  # `restore` writes a warning for this checkpoint
            if about.metric is not None and math.isfinite(about.metric):
                found.append((about.metric, about.step, path))
        return [path for *_, path in sorted(found)]

    def _forget(self, newest: int) -> None:
        """Keep the best checkpoint and the newest few up to step `newest`. Remove all others.

        If a checkpoint is newer than `newest`, `restore` could not load it.
        """
        there = self._there()
        last = [path for path in there if _step_of(path) <= newest][-self._keep :]
        for path in set(there) - {*last, *self._validated()[:1]}:
            shutil.rmtree(path, ignore_errors=True)


def _not_restored(path: Path, reason: str, *, code: str, **fields: object) -> RunError:
    return RunError(
        f"{path}: the checkpoint cannot be restored: {reason}",
        code=code,
        path=path,
        reason=reason,
        **fields,
    )


def _step_of(path: Path) -> int:
    return int(path.name.partition("-")[2])


def _about(path: Path) -> About:
    return read(About, json.loads((path / _ABOUT).read_text(encoding="utf-8")))


def _checksums(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.name != _ABOUT and not is_system_file(file.name)
    }


def _check_written(folder: Path, step: int) -> None:
    found = int(tf.train.load_checkpoint(str(folder / _PREFIX)).get_tensor(_STEP))
    if found != step:
        raise RunError(
            f"{folder}: step {step} was written, but step {found} was read back",
            code="checkpoint-step-wrong",
            path=folder,
            expected=step,
            found=found,
        )


def _make_durable(folder: Path) -> None:
    """Write the files of a folder from the system's cache to the disk (fsync).

    Without this function, files could be lost if the power fails after the folder is renamed.
    """
    for file in (*folder.iterdir(), folder):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
