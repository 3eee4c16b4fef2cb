"""A run: the folder that holds everything a training leaves.

This file says where each part lies, and writes `run.json` and `config.yaml`. The other parts are
written by `stage_trainer` (weights), `checkpoints`, `metrics_log` and `metrics_writer` (logs),
`sheets`, `stage_watch` (a bad batch) and `run_lock`; each file gets its name when it is whole, but
for logs, which grow, and the lock.

::

    RUN/
      run.json          schema, versions, seed, git revision, data, stages and their steps
      config.yaml       the whole config that was trained
      weights/*.npz     one file per network, written when its stage is complete
      checkpoints/STAGE resumable state of the stage in progress
      logs/STAGE.csv    metrics, and logs/STAGE/ the same for TensorBoard
      .lock             held by the one training that writes here
      sheets/*.png      source, coarse, residual, redirected, target
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError, RunError
from mggr_tf.config import Config, config_from_plain, config_to_plain
from mggr_tf.config.stages import Stage
from mggr_tf.runs.metrics_log import append_row, column
from mggr_tf.runs.record import (
    SCHEMA,
    DataRecord,
    Origin,
    RunRecord,
    StageRecord,
    check_config,
    installed_versions,
    with_present_names,
)

DEFAULT_ROOT = Path("runs")

_CONFIG, _RECORD = "config.yaml", "run.json"


def weights_of_stage(config: Config, stage: Stage) -> tuple[str, ...]:
    """Which networks a complete stage leaves in `weights/`."""
    return config.models.parts if stage == "joint" else (stage,)


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
        cls,
        path: Path,
        config: Config,
        data: DataRecord,
        *,
        portraits: DataRecord | None = None,
        vgg16: Path | None = None,
    ) -> RunFolder:
        """Makes the folder; the caller has checked that it may.

        What the config leaves to this machine is settled: every process that goes on with the run
        elsewhere computes in the same precision.

        `portraits` are photographs that it is trained on beside `data`, `vgg16` weights for the
        perceptual loss that it is trained with.

        Raises:
            RunError: the folder cannot be made.
        """
        from mggr_tf.models.blocks import settled  # TensorFlow, which a list of runs needs not

        precision = settled(config.models.features_precision)
        config = replace(config, models=replace(config.models, features_precision=precision))
        record = RunRecord(
            seed=config.seed,
            data=data,
            portraits=portraits,
            versions=installed_versions(),
            git_revision=_git_revision(),
            vgg16=None if vgg16 is None else str(vgg16.resolve()),
            config=config_to_plain(config),
            origins=(),
        )
        run = cls(path, config, record)
        try:
            for name in ("weights", "checkpoints", "logs", "sheets"):
                (path / name).mkdir(parents=True, exist_ok=True)
            run._write_config()
        except OSError as error:
            raise RunError(f"{path}: the run cannot be made: {error}") from error
        run._write_record()
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Opens an existing run.

        Raises:
            RunError: no run there, one of another schema or damaged, or its `config.yaml` is
                not what the run was made with any more.
        """
        file = run_file(path)
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            schema = data.get("schema")
            if schema != SCHEMA:
                raise RunError(
                    f"{path}: the run has schema {schema!r}, this version reads {SCHEMA}"
                )
            record = read(RunRecord, data)
            config = _config_in(path / _CONFIG)
            if record.config is not None:
                made_with = config_from_plain(record.config)
                check_config(path / _CONFIG, made_with=made_with, found=config)
            return cls(path, config, with_present_names(record, seed=config.synthetic.seed))
        except (OSError, ValueError, AttributeError, yaml.YAMLError, ConfigError) as error:
            raise RunError(f"{path}: the run is damaged: {error}") from error

    def adopt(self, donor: RunFolder, *, stage: Stage, train_on: Collection[Stage] = ()) -> None:
        """Starts from another run's weights: what `stage` needs counts as trained.

        The donor's data, and that of its donors, is recorded: the weights come from it too. An
        estimator that goes on starts from the one that the donor's devices run. One that stays is
        taken together with the donor's `adapted`, where `stage` does not train that anew.

        Args:
            donor: the other run.
            stage: the last one that this run will train.
            train_on: of the stages that it needs, those that go on from the donor's weights too.

        Raises:
            RunError: the donor has no weights that could be taken, or some of
                networks that this config builds otherwise.
        """
        names = {name: name for name in weights_to_adopt(self.config, donor)}
        if "estimator" in train_on:
            names["estimator"] = donor.device_estimator
        if "estimator" in train_on or stage == "adapted":
            names.pop("adapted", None)
        self._take(donor, names)
        for earlier in self.config.needed(stage):
            if earlier in train_on:
                continue
            if donor.is_complete(earlier) or (earlier == "coarse" and "coarse" in names):
                record = donor.record.stages.get(earlier, StageRecord(steps=0, complete=True))
                # Its minutes were the donor's: this run's budget is for what it trains itself.
                self.update_stage(earlier, replace(record, minutes=None))

    def adopt_redirector(self, donor: RunFolder) -> None:
        """Starts the redirector from another run's; every stage is trained.

        The donor's data is recorded, as by `adopt`.

        Args:
            donor: the other run.

        Raises:
            RunError: the donor has no redirector, or another one than this config builds.
        """
        parts = self.config.models.parts
        if missing := [name for name in parts if not donor.has_weights(name)]:
            raise RunError(f"{donor.path} has no {' and '.join(missing)} network to start from")
        _refuse_other_networks(self.config, donor, parts)
        self._take(donor, {name: name for name in parts})

    def _take(self, donor: RunFolder, names: Mapping[str, str]) -> None:
        """Copies weights, by their names here and in the donor."""
        self.record = self.record.with_origins(donor.record.sources(donor.path.resolve().name))
        self._write_record()  # before any weight is here
        for name, theirs in names.items():
            with atomic_file(self.weights_file(name), force=True) as temporary:
                shutil.copyfile(donor.weights_file(theirs), temporary)

    def is_complete(self, stage: Stage) -> bool:
        """Whether the stage was trained to its end."""
        return stage in self.record.stages and self.record.stages[stage].complete

    def has_weights(self, name: str) -> bool:
        """Whether some complete stage left this network's weights."""
        return self.weights_file(name).is_file()

    @property
    def device_estimator(self) -> Literal["estimator", "adapted"]:
        """Name of the gaze estimator that devices run: `adapted` where the run has its weights."""
        return "adapted" if self.has_weights("adapted") else "estimator"

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
        return self.path / "logs" / f"{stage}-bad-batch-{step:06d}.npz"

    def log_folder(self, stage: Stage) -> Path:
        """Where TensorBoard events of a stage are written."""
        return self.path / "logs" / stage

    def update_stage(self, stage: Stage, record: StageRecord, *, write: bool = True) -> None:
        """Writes down how far a stage is; a worker that is not the chief only knows it."""
        stages = {**self.record.stages, stage: record}
        self.record = replace(self.record, stages=stages)
        if write:
            self._write_record()

    def note_data(
        self, data: DataRecord, *, change: str | None = None, portraits: bool = False
    ) -> None:
        """Writes down what the run goes on with, and what changed; see `RunRecord.with_data`."""
        self.record = self.record.with_data(
            data, run=self.path.resolve().name, change=change, portraits=portraits
        )
        self._write_record()

    def note_origin(self, origin: Origin, *, write: bool = True) -> None:
        """Writes down more data that the weights will come from; harmless when repeated.

        A worker that is not the chief only knows it.
        """
        record = self.record.with_origins([origin])
        if record != self.record:
            self.record = record
            if write:
                self._write_record()

    def note_config(self, config: Config, *, change: str) -> None:
        """Writes down the config that the run goes on with, and what changed of it.

        Raises:
            DiskError: the disk takes no more; the run is as it was.
        """
        changes = (*self.record.changes, f"config: {change}")
        record = replace(self.record, config=config_to_plain(config), changes=changes)
        # One without the other would not open: both are on the disk before either has its name.
        with (
            atomic_file(self.path / _CONFIG, force=True) as config_file,
            atomic_file(self.path / _RECORD, force=True) as record_file,
        ):
            _write_through(config_file, _config_text(config))
            _write_through(record_file, _record_text(record))
        self.config, self.record = config, record

    def log_file(self, stage: Stage) -> Path:
        """Where a stage's metrics are logged."""
        return self.path / "logs" / f"{stage}.csv"

    def validation_file(self, stage: Stage) -> Path:
        """Where a stage's validation metrics are logged."""
        return self.path / "logs" / f"{stage}-validation.csv"

    def log(self, stage: Stage, step: int, metrics: Mapping[str, float]) -> None:
        """Appends one line to the stage's CSV; see `metrics_log.append_row`."""
        append_row(self.log_file(stage), step, metrics)

    def log_validation(self, stage: Stage, step: int, metrics: Mapping[str, float]) -> None:
        """Likewise, of eyes that the stage is not trained on."""
        append_row(self.validation_file(stage), step, metrics)

    def logged(self, stage: Stage, metric: str) -> dict[int, float]:
        """Step -> what a stage's CSV holds of a metric; empty where it holds nothing.

        A resumed stage repeats the steps that it had gone beyond its checkpoint; the
        later line counts.
        """
        return column(self.log_file(stage), metric)

    def validated(self, stage: Stage, metric: str) -> dict[int, float]:
        """Likewise, of eyes that the stage is not trained on."""
        return column(self.validation_file(stage), metric)

    def _write_config(self) -> None:
        with atomic_file(self.path / _CONFIG, force=True) as temporary:
            temporary.write_text(_config_text(self.config), encoding="utf-8")

    def _write_record(self) -> None:
        with atomic_file(self.path / _RECORD, force=True) as temporary:
            temporary.write_text(_record_text(self.record), encoding="utf-8")


def _config_text(config: Config) -> str:
    return yaml.safe_dump(config_to_plain(config), sort_keys=False)


def _record_text(record: RunRecord) -> str:
    return json.dumps(plain(record), indent=2, sort_keys=True) + "\n"


def _write_through(file: Path, text: str) -> None:
    """Writes to the disk itself, which may say only then that it is full."""
    with open(file, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def weights_to_adopt(config: Config, donor: RunFolder) -> tuple[str, ...]:
    """The networks that a run by this config can take from another run.

    Raises:
        RunError: none of them, or some are built otherwise.
    """
    networks = ("estimator", "coarse", "fine", "adapted")
    names = tuple(name for name in networks if donor.has_weights(name))
    if not names:
        raise RunError(f"{donor.path} has no weights to start from")
    _refuse_other_networks(config, donor, names)
    return names


def _refuse_other_networks(config: Config, donor: RunFolder, names: Iterable[str]) -> None:
    if other := [n for n in names if not config.builds_alike(n, donor.config)]:
        raise RunError(
            f"{donor.path} has another {' and '.join(other)} network than config {config.name}"
        )


def _config_in(file: Path) -> Config:
    try:
        return config_from_plain(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ConfigError as error:
        raise ConfigError(f"{file.name}: {error}") from error


def run_file(path: Path) -> Path:
    """A run's `run.json`.

    Raises:
        RunError: no run there.
    """
    file = path / _RECORD
    if not file.is_file():
        raise RunError(f"{path} is no run: it has no run.json; `mggr-tf train` makes one")
    return file


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
