"""Run folder: all files of one training.

This module defines the paths of all files in a run. It writes `run.json` and `config.yaml`, and it
uses `metrics_log` to write the CSV logs. The module `lock` manages the lock. The module `adoption`
copies weights from another run. Modules of `mggr_tf.training` write the other files:

- `stages` writes the weights.
- `checkpoints` writes the checkpoints.
- `stage_watch` writes the TensorBoard logs, the sample sheets and the batches of failed steps. A
  sample sheet is an image with examples of redirected eyes.

All files except the logs and the lock are written atomically. A run folder contains these files::

    RUN/
      run.json          schema, versions, seed, git revision, data, stages and their steps
      config.yaml       complete config of the training
      weights/*.npz     one file for each network, written when its stage is complete
      checkpoints/STAGE training state of the incomplete stage, for --resume
      logs/STAGE.csv    metrics (logs/STAGE/ contains the metrics for TensorBoard)
      .lock             lock of the training that currently writes to the run
      sheets/*.png      sample sheets: source, coarse, residual, redirected, target
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
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
    git_revision,
    installed_versions,
    with_present_names,
)

DEFAULT_ROOT = Path("runs")

_CONFIG, _RECORD = "config.yaml", "run.json"


def weights_of_stage(config: Config, stage: Stage) -> tuple[str, ...]:
    """Return the names of the networks whose weights a stage writes when it is complete."""
    return config.models.parts if stage == "joint" else (stage,)


class RunFolder:
    """Reads and writes the files of one run. Use `create` or `open` to get an instance.

    Args:
        path: folder of the run.
        config: config of the run.
        record: record of the run, including its progress.
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
        """Create the folder of a new run. The caller must first check that the path may be used.

        The config can contain the precision `auto`. This method replaces `auto` by the precision
        for this machine. Therefore a run that is resumed on another machine has the same precision.

        Args:
            path: folder of the run.
            config: config of the run.
            data: record of the training data.
            portraits: record of additional training photographs. `None` if there are none.
            vgg16: file with the weights of VGG-16, for the perceptual loss.

        Raises:
            RunError: the folder cannot be created.
        """
        # Import this module here, because it imports TensorFlow. Lists of runs do not need
        # TensorFlow.
        from mggr_tf.models.precision import settled

        precision = settled(config.models.features_precision)
        config = replace(config, models=replace(config.models, features_precision=precision))
        record = RunRecord(
            seed=config.seed,
            data=data,
            portraits=portraits,
            versions=installed_versions(),
            git_revision=git_revision(),
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
            raise RunError(
                f"{path}: the run cannot be created: {error}",
                code="run-not-created",
                path=path,
                reason=error,
            ) from error
        run._write_record()
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run.

        Raises:
            RunError: there is no run at this path. Or the run has an unknown schema. Or the run is
                damaged. Or its `config.yaml` is different from the config in `run.json`.
        """
        file = run_file(path)
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            schema = data.get("schema")
            if schema != SCHEMA:
                raise RunError(
                    f"{path}: the run has schema {schema!r}, but this version reads {SCHEMA}",
                    code="run-schema-unknown",
                    path=path,
                    found=schema,
                    expected=SCHEMA,
                )
            record = read(RunRecord, data)
            config = _config_in(path / _CONFIG)
            if record.config is not None:
                made_with = config_from_plain(record.config)
                check_config(path / _CONFIG, made_with=made_with, found=config)
            return cls(path, config, with_present_names(record, seed=config.synthetic.seed))
        except (OSError, ValueError, AttributeError, yaml.YAMLError, ConfigError) as error:
            raise RunError(
                f"{path}: the run is damaged: {error}",
                code="run-damaged",
                path=path,
                reason=error,
            ) from error

    def is_complete(self, stage: Stage) -> bool:
        """Return whether a stage is complete."""
        return stage in self.record.stages and self.record.stages[stage].complete

    def has_weights(self, name: str) -> bool:
        """Return whether the run has the weights of a network. Complete stages write weights."""
        return self.weights_file(name).is_file()

    @property
    def device_estimator(self) -> Literal["estimator", "adapted"]:
        """Name of the gaze estimator for devices. It is `adapted` if the run has these weights."""
        return "adapted" if self.has_weights("adapted") else "estimator"

    def can_redirect(self) -> bool:
        """Return whether a stage that trains a redirector is complete."""
        parts = self.config.models.parts
        # The coarse branch is sufficient, because an untrained fine branch does not change images.
        return self.has_weights("coarse" if "coarse" in parts else parts[0])

    def weights_file(self, name: str) -> Path:
        """Return the path of a network's weights."""
        return self.path / "weights" / f"{name}.npz"

    def checkpoint_folder(self, stage: Stage) -> Path:
        """Return the folder of a stage's checkpoints."""
        return self.path / "checkpoints" / stage

    def sheet_file(self, stage: Stage, step: int) -> Path:
        """Return the path of a sample sheet."""
        return self.path / "sheets" / f"{stage}-{step:06d}.png"

    def bad_batch_file(self, stage: Stage, step: int) -> Path:
        """Return the path for the batch of a step at which the training diverged."""
        return self.path / "logs" / f"{stage}-bad-batch-{step:06d}.npz"

    def log_folder(self, stage: Stage) -> Path:
        """Return the folder of a stage's TensorBoard events."""
        return self.path / "logs" / stage

    def update_stage(self, stage: Stage, record: StageRecord, *, write: bool = True) -> None:
        """Update the record of a stage.

        Args:
            stage: stage to update.
            record: new record of the stage.
            write: whether to write `run.json`. If False, only the record in memory is changed. If
                several workers (processes) train, only the first worker passes True.
        """
        stages = {**self.record.stages, stage: record}
        self.record = replace(self.record, stages=stages)
        if write:
            self._write_record()

    def note_data(
        self, data: DataRecord, *, change: str | None = None, portraits: bool = False
    ) -> None:
        """Record the data with which the run continues; see `RunRecord.with_data`."""
        self.record = self.record.with_data(
            data, run=self.path.resolve().name, change=change, portraits=portraits
        )
        self._write_record()

    def note_origins(self, origins: Iterable[Origin], *, write: bool = True) -> None:
        """Add data that the weights were trained on to the record of the run.

        Data that is already recorded is ignored.

        Args:
            origins: additional training data.
            write: whether to write `run.json`. If False, only the record in memory is changed. If
                several workers (processes) train, only the first worker passes True.
        """
        record = self.record.with_origins(origins)
        if record != self.record:
            self.record = record
            if write:
                self._write_record()

    def note_config(self, config: Config, *, change: str) -> None:
        """Record the config with which the run continues, and a description of the change.

        Args:
            config: new config.
            change: description of the change.

        Raises:
            DiskError: the disk is full. In this case, the run is unchanged.
        """
        changes = (*self.record.changes, f"config: {change}")
        record = replace(self.record, config=config_to_plain(config), changes=changes)
        # Write both files before the first one is renamed. If only one of the two files were new,
        # the run could not be opened.
        with (
            atomic_file(self.path / _CONFIG, force=True) as config_file,
            atomic_file(self.path / _RECORD, force=True) as record_file,
        ):
            _write_through(config_file, _config_text(config))
            _write_through(record_file, _record_text(record))
        self.config, self.record = config, record

    def log_file(self, stage: Stage) -> Path:
        """Return the path of a stage's metrics log."""
        return self.path / "logs" / f"{stage}.csv"

    def validation_file(self, stage: Stage) -> Path:
        """Return the path of a stage's validation log."""
        return self.path / "logs" / f"{stage}-validation.csv"

    def log(self, stage: Stage, step: int, metrics: Mapping[str, float]) -> None:
        """Append one row to a stage's metrics log; see `metrics_log.append_row`."""
        append_row(self.log_file(stage), step, metrics)

    def log_validation(self, stage: Stage, step: int, metrics: Mapping[str, float]) -> None:
        """Append one row to a stage's validation log; see `metrics_log.append_row`."""
        append_row(self.validation_file(stage), step, metrics)

    def logged(self, stage: Stage, metric: str) -> dict[int, float]:
        """Return the logged values of a metric. The keys are steps.

        A resumed stage repeats the steps after its checkpoint. The log then contains two rows for
        such a step. The result contains the value of the later row.
        """
        return column(self.log_file(stage), metric)

    def validated(self, stage: Stage, metric: str) -> dict[int, float]:
        """Return the logged values of a validation metric. The keys are steps."""
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
    """Write a file, and make sure that its content is on the disk.

    Some file systems report a full disk only in the second step.
    """
    with open(file, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def _config_in(file: Path) -> Config:
    try:
        return config_from_plain(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ConfigError as error:
        raise ConfigError(
            f"{file.name}: {error}", code=error.code, **{**error.fields, "file": file}
        ) from error


def run_file(path: Path) -> Path:
    """Return the path of a run's `run.json`.

    Raises:
        RunError: the folder is not a run.
    """
    file = path / _RECORD
    if not file.is_file():
        raise RunError(
            f"{path} is not a run: it has no run.json; `mggr-tf train` creates runs",
            code="not-a-run",
            path=path,
        )
    return file
