"""Run folders by name, and fingerprints of what they learned."""

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
"""What describes a stage without validation: what its log holds of these, on the pairs that it
trains on."""

_VALIDATED = ("error_deg", "l1", "l1_coarse")
"""What a stage may be validated by; see `mggr_tf.training.validation`."""


@dataclass(frozen=True)
class ListedRun:
    """A run in a list.

    Attributes:
        path: its folder.
        config: its config's name; None for a run that cannot be read.
        data: what it was trained on.
        stages: a line for each stage: how far it is, and the best that validation found, or
            without it that its log holds.
        problem: why it cannot be read.
    """

    path: Path
    config: str | None
    data: str
    stages: tuple[str, ...]
    problem: str | None = None


def list_runs(root: Path) -> tuple[ListedRun, ...]:
    """The runs under a folder, by name; damaged ones too.

    Raises:
        RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"{root} does not exist; `mggr-tf train` makes runs under runs/")
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
            # The first of equal ones, as training takes it.
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
    """Without what was no number, which would be the least of all."""
    return {step: value for step, value in values.items() if math.isfinite(value)}


def packaged_run() -> Path:
    """The folder of the packaged run: `run.json`, `config.yaml`, `weights/`, no checkpoints."""
    return Path(str(resources.files("mggr_tf.runs"))) / "default"


def open_run(name_or_path: str | Path) -> RunFolder:
    """Opens the packaged run by its name, `default`, or any other by its path.

    Only a string is a name: `./default` and `Path("default")` are folders.

    Raises:
        RunError: no run there, or a damaged one; or this installation carries none.
    """
    if name_or_path != DEFAULT:
        return RunFolder.open(Path(name_or_path))
    if not packaged_run().is_dir():
        raise RunError(
            "this installation carries no weights of its own; name a run that `mggr-tf train` made"
        )
    return RunFolder.open(packaged_run())


def fingerprint(run: RunFolder) -> dict[str, str]:
    """SHA-256 of every network's weights, and of all of them.

    Counted are the arrays' names, types, shapes and bytes; not when and by which version they
    were written, which is in the files too.

    Returns:
        network -> hash, in alphabetical order, and at the end "all".

    Raises:
        RunError: the run has no weights, or damaged ones.
    """
    files = sorted(
        file
        for file in (run.path / "weights").glob("*.npz")
        if not is_partial(file) and not is_system_file(file.name)
    )
    if not files:
        raise RunError(f"{run.path} has no weights yet; a stage leaves them when it is complete")
    found = {file.stem: _of_file(file) for file in files}
    whole = hashlib.sha256()
    for name, one in found.items():
        whole.update(f"{name} {one}\n".encode())
    return {**found, "all": whole.hexdigest()}


def _of_file(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        # numpy leaves a file open that it cannot read; this one closes.
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                array = np.ascontiguousarray(arrays[name])
                digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{file}: the weights are damaged: {error}") from error
    return digest.hexdigest()


def newest_run(root: Path = DEFAULT_ROOT) -> RunFolder:
    """The run under `root` that was last written to and can redirect.

    Raises:
        RunError: there is none.
    """
    files = sorted(root.glob("*/run.json"), key=lambda f: f.stat().st_mtime, reverse=True)
    for file in files:
        run = RunFolder.open(file.parent)
        if run.can_redirect() and all(s.complete for s in run.record.stages.values()):
            return run
    raise RunError(f"no complete run under {root}/; make one with: mggr-tf train --stage joint")


def free_name(root: Path, stem: str) -> Path:
    """`root/stem`, or with the next free number behind it."""
    candidates: Iterable[Path] = (
        root / (stem if number == 1 else f"{stem}-{number}") for number in range(1, 100_000)
    )
    return next(path for path in candidates if not path.exists())
