"""List runs, open runs by name, and compute hashes of their weights."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from mggr_edge.common.atomic import is_partial
from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import RunError
from mggr_edge.models.installed import DEFAULT
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.runs.folder import DEFAULT_ROOT, RunFolder
from mggr_tf.runs.record import StageRecord

_TOLD: dict[Stage, tuple[str, ...]] = {
    "estimator": ("pitch_error_deg", "yaw_error_deg"),
    "judge": ("pitch_error_deg", "yaw_error_deg"),
    "adapted": ("pitch_error_deg", "yaw_error_deg"),
    "coarse": ("l1", "l1_coarse"),
    "fine": ("l1",),
    "joint": ("l1",),
}
"""Metrics of the training log that are shown for a stage without validation."""

_VALIDATED = ("error_deg", "l1", "l1_coarse")
"""Validation metrics that determine the best step of a stage; see `mggr_tf.training.validation`."""


@dataclass(frozen=True)
class ListedRun:
    """Entry of a list of runs.

    Attributes:
        path: folder of the run.
        config: name of the run's config, or `None` if the run cannot be read.
        data: description of the training data.
        stages: one line for each stage, with its progress and its best validation metric. If a
            stage has no validation, the line contains the best metrics of the training log.
        problem: reason why the run cannot be read, or `None` if the run can be read.
    """

    path: Path
    config: str | None
    data: str
    stages: tuple[str, ...]
    problem: str | None = None


def list_runs(root: Path) -> tuple[ListedRun, ...]:
    """Return the runs in a folder, sorted by name. Damaged runs are included.

    Raises:
        RunError: the folder does not exist.
    """
    if not root.is_dir():
        raise RunError(
            f"{root} does not exist; `mggr-tf train` creates runs under runs/",
            code="no-such-folder",
            path=root,
        )
    return tuple(_listed(file.parent) for file in sorted(root.glob("*/run.json")))


def _listed(path: Path) -> ListedRun:
    try:
        run = RunFolder.open(path)
    except RunError as error:
        return ListedRun(path, None, "", (), str(error))
    data = run.record.data
    people = f"{data.patches} patches of {len(data.subjects)} subjects"
    if (portraits := run.record.portraits) is not None:
        people += f"; portraits of {len(portraits.subjects)} people"
    stages = tuple(
        _in_words(run, stage, run.record.stages[stage])
        for stage in STAGES
        if stage in run.record.stages
    )
    return ListedRun(path, run.config.name, f"{data.source}, {people}", stages)


def _in_words(run: RunFolder, stage: Stage, record: StageRecord) -> str:
    minutes = record.seconds / 60
    if record.complete:
        how = f"{stage}: {record.steps} steps in {minutes:.0f} minutes"
    else:
        how = f"{stage}: {record.done} of {record.steps} steps, {minutes:.0f} minutes, unfinished"
    best = _validated(run, stage) or _logged(run, stage)
    return f"{how}; best {best}" if best else how


def _validated(run: RunFolder, stage: Stage) -> str | None:
    for metric in _VALIDATED:
        found = _numbers(run.validated(stage, metric))
        if found:
            # If several steps have the best value, use the first of these steps, as in training.
            step = min(found, key=lambda at: (found[at], at))
            return f"validation {metric} {found[step]:.4g} at step {step}"
    return None


def _logged(run: RunFolder, stage: Stage) -> str:
    return ", ".join(
        f"{metric} {min(logged.values()):.4g}"
        for metric in _TOLD[stage]
        if (logged := _numbers(run.logged(stage, metric)))
    )


def _numbers(values: dict[int, float]) -> dict[int, float]:
    """Remove values that are not finite, because the minimum of values with NaN is not defined."""
    return {step: value for step, value in values.items() if math.isfinite(value)}


def packaged_run() -> Path:
    """Return the folder of the packaged run, which is a part of this package.

    The folder contains `run.json`, `config.yaml` and `weights/`, but no checkpoints.
    """
    return Path(str(resources.files("mggr_tf.runs"))) / "default"


def open_run(name_or_path: str | Path) -> RunFolder:
    """Open a run by its path. The string `default` opens the packaged run.

    `./default` and `Path("default")` open a folder with this name instead.

    Raises:
        RunError: there is no run at the path, the run is damaged, or this installation has no
            packaged run.
    """
    if name_or_path != DEFAULT:
        return RunFolder.open(Path(name_or_path))
    if not packaged_run().is_dir():
        raise RunError(
            "this installation has no packaged weights; use the path of a run that `mggr-tf train` "
            "created",
            code="no-packaged-weights",
        )
    return RunFolder.open(packaged_run())


def fingerprint(run: RunFolder) -> dict[str, str]:
    """Return a SHA-256 hash of the weights of each network, and a hash of all weights together.

    A hash depends on the names, dtypes, shapes and bytes of the arrays, but not on the time and the
    version in the files.

    Returns:
        Hashes with the names of the networks as keys, in alphabetical order. The hash of all
        weights has the key `all`.

    Raises:
        RunError: the run has no weights, or a file with weights is damaged.
    """
    files = sorted(
        file
        for file in (run.path / "weights").glob("*.npz")
        if not is_partial(file) and not is_system_file(file.name)
    )
    if not files:
        raise RunError(
            f"{run.path} has no weights yet; a stage writes its weights when it is complete",
            code="no-weights",
            path=run.path,
        )
    found = {file.stem: _of_file(file) for file in files}
    whole = hashlib.sha256()
    for name, one in found.items():
        whole.update(f"{name} {one}\n".encode())
    return {**found, "all": whole.hexdigest()}


def _of_file(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        # Open the file here, because numpy does not close a file that it cannot read.
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                array = np.ascontiguousarray(arrays[name])
                digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{file}: the weights are damaged: {error}",
            code="weights-damaged",
            path=file,
            reason=error,
        ) from error
    return digest.hexdigest()


def newest_run(root: Path = DEFAULT_ROOT) -> RunFolder:
    """Return the newest complete run in `root` that has a redirector.

    Raises:
        RunError: there is no such run, or a run is damaged.
    """
    files = sorted(root.glob("*/run.json"), key=lambda f: f.stat().st_mtime, reverse=True)
    for file in files:
        run = RunFolder.open(file.parent)
        if run.can_redirect() and all(s.complete for s in run.record.stages.values()):
            return run
    raise RunError(
        f"no complete run under {root}/; create one with: mggr-tf train --stage joint",
        code="no-complete-run",
        path=root,
    )


def free_name(root: Path, stem: str) -> Path:
    """Return a path that does not exist: `root/stem`, or `root/stem-N` with N from 2."""
    candidates: Iterable[Path] = (
        root / (stem if number == 1 else f"{stem}-{number}") for number in range(1, 100_000)
    )
    return next(path for path in candidates if not path.exists())
