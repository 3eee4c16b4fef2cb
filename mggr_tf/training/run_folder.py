"""A run: the folder that holds everything a training leaves. Only this file writes to it.

::

    RUN/
      run.json          schema, versions, seed, git revision, data, stages and their steps
      config.yaml       the whole config that was trained
      weights/*.npz     one file per network, written when its stage is complete
      checkpoints/STAGE resumable state of the stage in progress
      logs/STAGE.csv    metrics, and logs/STAGE/ the same for TensorBoard
      sheets/*.png      source, coarse, residual, redirected, target
"""

from __future__ import annotations

import csv
import json
import platform
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import yaml

from mggr_edge.atomic import atomic_file
from mggr_edge.errors import ConfigError, RunError
from mggr_edge.strict import plain, read
from mggr_edge.version import __version__
from mggr_tf.config import Config, Stage, config_from_plain, config_to_plain
from mggr_tf.data.source import Split
from mggr_tf.models.precision import settled

SCHEMA = 1
DEFAULT_ROOT = Path("runs")


def weights_of_stage(config: Config, stage: Stage) -> tuple[str, ...]:
    """Which networks a complete stage leaves in `weights/`."""
    return config.models.parts if stage == "joint" else (stage,)


@dataclass(frozen=True)
class DataRecord:
    """What a run was trained on.

    Attributes:
        source: `synthetic`, or the absolute path of the folder.
        subjects: trained on.
        held_out: left aside, for sheets and validation.
        patches: how many patches of `subjects` there were.
        licence: what it allows.
    """

    source: str
    subjects: tuple[str, ...]
    held_out: tuple[str, ...]
    patches: int
    licence: str

    @classmethod
    def of(cls, split: Split) -> DataRecord:
        """Of training data as it was opened."""
        return cls(
            source=split.source,
            subjects=split.train.subjects,
            held_out=split.held_out.subjects if split.held_out is not None else (),
            patches=len(split.train),
            licence=split.train.licence,
        )


@dataclass(frozen=True)
class StageRecord:
    """How far a stage is.

    Attributes:
        steps: the budget, in steps; a budget in minutes became this number.
        done: steps that the newest checkpoint holds.
        complete: whether its weights are in `weights/`.
        minutes: the budget in minutes, where it was given so.
        seconds: time spent so far.
    """

    steps: int
    done: int = 0
    complete: bool = False
    minutes: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class RunRecord:
    """The content of `run.json`; `vgg16` is the file of the perceptual loss's weights."""

    seed: int
    data: DataRecord
    stages: dict[str, StageRecord] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    vgg16: str | None = None
    schema: int = SCHEMA


class RunFolder:
    """Reads and writes one run.

    Args:
        path: the folder; use `create` or `open`.
        config: what it trains.
        record: how far it is.
    """

    def __init__(self, path: Path, config: Config, record: RunRecord) -> None:
        self.path = path
        self.config = config
        self.record = record

    @classmethod
    def create(
        cls, path: Path, config: Config, data: DataRecord, *, vgg16: Path | None = None
    ) -> RunFolder:
        """Makes the folder; the caller has checked that it may.

        What the config leaves to this machine is settled: whoever goes on with the run
        elsewhere computes in the same precision.

        `vgg16` are weights for the perceptual loss that the run is trained with.

        Raises:
            RunError: the folder cannot be made.
        """
        record = RunRecord(
            seed=config.seed,
            data=data,
            versions=_versions(),
            git_revision=_git_revision(),
            vgg16=None if vgg16 is None else str(vgg16.resolve()),
        )
        precision = settled(config.models.features_precision)
        config = replace(config, models=replace(config.models, features_precision=precision))
        run = cls(path, config, record)
        try:
            for name in ("weights", "checkpoints", "logs", "sheets"):
                (path / name).mkdir(parents=True, exist_ok=True)
            with atomic_file(path / "config.yaml", force=True) as temporary:
                text = yaml.safe_dump(config_to_plain(config), sort_keys=False)
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path}: the run cannot be made: {error}") from error
        run._write_record()
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Opens an existing run.

        Raises:
            RunError: no run there, or one of another schema or damaged.
        """
        file = path / "run.json"
        if not file.is_file():
            raise RunError(f"{path} is no run: it has no run.json; `mggr-tf train` makes one")
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            schema = data.get("schema")
            if schema != SCHEMA:
                raise RunError(
                    f"{path}: the run has schema {schema!r}, this version reads {SCHEMA}"
                )
            config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
            return cls(path, config_from_plain(config), read(RunRecord, data))
        except (OSError, ValueError, AttributeError, yaml.YAMLError, ConfigError) as error:
            raise RunError(f"{path}: the run is damaged: {error}") from error

    def adopt(self, donor: RunFolder, *, stage: Stage, train_on: Collection[Stage] = ()) -> None:
        """Starts from another run's weights: what `stage` needs counts as trained.

        Args:
            donor: the other run.
            stage: the last one that this run will train.
            train_on: of the stages that it needs, those that go on from the donor's weights too.

        Raises:
            RunError: the donor has no weights that could be taken, or some of
                networks that this config builds otherwise.
        """
        names = [n for n in ("estimator", "coarse", "fine") if donor.has_weights(n)]
        if not names:
            raise RunError(f"{donor.path} has no weights to start from")
        if other := [n for n in names if not self.config.builds_alike(n, donor.config)]:
            raise RunError(
                f"{donor.path} has another {' and '.join(other)} network than config "
                f"{self.config.name}"
            )
        for name in names:
            with atomic_file(self.weights_file(name), force=True) as temporary:
                shutil.copyfile(donor.weights_file(name), temporary)
        for earlier in self.config.needed(stage):
            if earlier in train_on:
                continue
            if donor.is_complete(earlier) or (earlier == "coarse" and "coarse" in names):
                theirs = donor.record.stages.get(earlier, StageRecord(steps=0, complete=True))
                # Its minutes were the donor's: this run's budget is for what it trains itself.
                self.update_stage(earlier, replace(theirs, minutes=None))

    def is_complete(self, stage: Stage) -> bool:
        """Whether the stage was trained to its end."""
        return stage in self.record.stages and self.record.stages[stage].complete

    def has_weights(self, name: str) -> bool:
        """Whether some complete stage left this network's weights."""
        return self.weights_file(name).is_file()

    def can_redirect(self) -> bool:
        """Whether some stage that ends with a redirector is complete."""
        parts = self.config.models.parts
        # A fine branch that was not trained yet adds nothing.
        return self.has_weights("coarse" if "coarse" in parts else parts[0])

    def weights_file(self, name: str) -> Path:
        """Where a network's weights lie."""
        return self.path / "weights" / f"{name}.npz"

    def checkpoint_folder(self, stage: Stage) -> Path:
        """Where a stage's checkpoints lie."""
        return self.path / "checkpoints" / stage

    def sheet_file(self, stage: Stage, step: int) -> Path:
        """Where a sample sheet is written."""
        return self.path / "sheets" / f"{stage}-{step:06d}.png"

    def bad_batch_file(self, stage: Stage, step: int) -> Path:
        """Where the batch is kept that a step saw whose loss was no number."""
        return self.path / "logs" / f"{stage}-not-a-number-{step:06d}.npz"

    def log_folder(self, stage: Stage) -> Path:
        """Where TensorBoard events of a stage are written."""
        return self.path / "logs" / stage

    def update_stage(self, stage: Stage, record: StageRecord) -> None:
        """Writes down how far a stage is."""
        stages = {**self.record.stages, stage: record}
        self.record = replace(self.record, stages=stages)
        self._write_record()

    def log(self, stage: Stage, step: int, metrics: Mapping[str, float]) -> None:
        """Appends one line to the stage's CSV."""
        file = self.path / "logs" / f"{stage}.csv"
        new = not file.exists()
        with open(file, "a", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(["step", *metrics])
            writer.writerow([step, *(f"{value:.6g}" for value in metrics.values())])

    def logged(self, stage: Stage, metric: str) -> dict[int, float]:
        """Step -> what a stage's CSV holds of a metric; empty where it holds nothing.

        A resumed stage repeats the steps that it had gone beyond its checkpoint; the
        later line counts.
        """
        file = self.path / "logs" / f"{stage}.csv"
        if not file.is_file():
            return {}
        with open(file, newline="", encoding="utf-8") as handle:
            rows = [row for row in csv.DictReader(handle) if row.get(metric)]
        return {int(row["step"]): float(row[metric]) for row in rows}

    def _write_record(self) -> None:
        with atomic_file(self.path / "run.json", force=True) as temporary:
            text = json.dumps(plain(self.record), indent=2, sort_keys=True)
            temporary.write_text(text + "\n", encoding="utf-8")


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


def _versions() -> dict[str, str]:
    packages = ("tensorflow", "tensorflow-addons", "numpy")
    found = {name: metadata.version(name) for name in packages}
    return {"mggr-tf": __version__, "python": platform.python_version(), **found}


def _git_revision() -> str | None:
    """Revision of the checkout this code runs from; None outside one, or without git."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
