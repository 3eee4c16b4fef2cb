"""From a run to a bundle: freeze, convert, prove, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tensorflow import keras

from mggr_edge.atomic import atomic_folder
from mggr_edge.bundle import CONTRACT_FILE
from mggr_edge.contract import Conventions, RunnableFormat
from mggr_edge.errors import RunError, UsageError
from mggr_edge.progress import Progress
from mggr_export.bundle import Travelling, bundle_files, write_files
from mggr_export.calibration import ModelInputs, balanced_pairs, inputs_of_pairs
from mggr_export.converting import (
    check_converter,
    convert_float16,
    convert_float32,
    convert_int8,
)
from mggr_export.errors import ArtifactError
from mggr_export.export_data import samples_for_export
from mggr_export.keras_models import models_of_run
from mggr_export.labels import label_of, labelled
from mggr_export.precision import Precision
from mggr_export.proof import Converted, faults_of, file_name, proofs_text, prove
from mggr_export.quiet import quiet_converter
from mggr_export.sight import Sight
from mggr_tf.data.schema import EyeSamples
from mggr_tf.training.default_run import packaged_run
from mggr_tf.training.run_folder import RunFolder, free_name

Say = Callable[[str], None]

CALIBRATION_PAIRS = 320
PARITY_PAIRS = 256

_SEED = 64
_NAMES = {"float32": "bundle-float", "float16": "bundle-fp16", "int8": "bundle-int8"}
_PEOPLE_TO_CALIBRATE, _PEOPLE_TO_COMPARE = 16, 4
_MAY_STAY_FLOAT = frozenset({"estimator"})
"""Models whose int8 file may miss its limits: they then travel in float32, and it is said."""


def export_run(
    run: RunFolder,
    out: Path | None,
    *,
    precision: Precision,
    data: str | None,
    force: bool,
    progress: Progress,
    say: Say,
    formats: Sequence[RunnableFormat] = ("tflite",),
    lean: bool = False,
) -> Path:
    """Exports a run's averaged redirector and estimator as a bundle.

    Every model is compared with Keras before anything is written; a bundle that
    misses a limit is not written at all.

    Args:
        run: whose stages are complete.
        out: the bundle's folder; None takes `bundle-int8`, `bundle-fp16` or `bundle-float`
            in the run (of the packaged one: in the working folder), with a number behind it
            where that is taken.
        precision: of the convolutions.
        data: eyes for calibration and comparison: `synthetic`, a folder, or None
            for what the run was trained on.
        force: `out` may replace another bundle.
        progress: shows how far it is.
        say: tells the user what was chosen and what was measured.
        formats: that every model is written in, the one that devices prefer first.
        lean: leave out the face models and the reference weights.

    Returns:
        the bundle's path.

    Raises:
        RunError: the run is not trained to its end.
        OutputExistsError: `out` exists and `force` is false.
        UsageError: `out` exists and is no bundle.
        DataError: the eyes cannot be had.
        ArtifactError: a converted model is not the Keras model.
        MissingPackageError: a format's packages are not installed.
    """
    _check_complete(run)
    for file_format in formats:
        check_converter(file_format)
    # Packages are not written to: the default run's bundles go where the user is.
    home = Path() if run.path.resolve() == packaged_run().resolve() else run.path
    target = out or free_name(home, _NAMES[precision])
    if force and target.exists() and not (target / CONTRACT_FILE).is_file():
        raise UsageError(f"{target} is no bundle; --force replaces bundles only")
    with atomic_folder(target, force=force) as folder:
        samples = samples_for_export(
            data,
            trained_on=run.record.data,
            config=run.config,
            draw=_PEOPLE_TO_CALIBRATE if precision == "int8" else _PEOPLE_TO_COMPARE,
            progress=progress,
            say=say,
        )
        with quiet_converter():
            files = _proven_files(
                run, samples, formats, precision=precision, lean=lean, progress=progress, say=say
            )
        write_files(folder, files)
    return target


def _proven_files(
    run: RunFolder,
    samples: EyeSamples,
    formats: Sequence[RunnableFormat],
    *,
    precision: Precision,
    lean: bool,
    progress: Progress,
    say: Say,
) -> dict[str, bytes]:
    models = models_of_run(run)
    eyes = _eyes(
        samples, models["estimator"], run.config.conventions, calibrate=precision == "int8"
    )
    exported = {
        name: [
            _Exporter(name, model, label_of(run, name), file_format, eyes, progress, say).export(
                precision
            )
            for file_format in formats
        ]
        for name, model in models.items()
    }
    proofs = {
        file_name(name, one.converted): one.proof for name, all_ in exported.items() for one in all_
    }
    say(proofs_text(proofs))
    if faults := faults_of(proofs):
        raise ArtifactError(f"not exported; {faults}")
    return bundle_files(run, models, exported, lean=lean)


@dataclass(frozen=True)
class _Eyes:
    """What models are calibrated on (None for float) and compared on.

    The two share no pair while the data lasts.
    """

    source: str
    calibration: ModelInputs | None
    compared: ModelInputs
    sight: Sight


@dataclass(frozen=True)
class _Exporter:
    """Converts and proves one model in one format."""

    name: str
    model: keras.Model
    label: str
    format: RunnableFormat
    eyes: _Eyes
    progress: Progress
    say: Say

    def export(self, precision: Precision) -> Travelling:
        if precision != "int8":
            return self._proven(self._float(precision), {})
        exported = self._proven(*self._int8())
        if exported.proof.faults and self.name in _MAY_STAY_FLOAT:
            file = file_name(self.name, exported.converted)
            self.say(f"{file} stays float32; in int8 {faults_of({file: exported.proof})}")
            return self._proven(self._float("float32"), {})
        return exported

    def _float(self, precision: Literal["float32", "float16"]) -> Converted:
        convert = convert_float16 if precision == "float16" else convert_float32
        with self.progress(f"converting the {self.name} to {self.format}", None):
            return self._labelled(convert(self.model, self.format), precision)

    def _int8(self) -> tuple[Converted, dict[str, Any]]:
        assert self.eyes.calibration is not None
        inputs = self.eyes.calibration[self.name]
        with self.progress(f"calibrating the {self.name}", CALIBRATION_PAIRS) as advance:
            content = convert_int8(self.model, self.format, inputs, advance=advance)
        calibration = {"pairs": CALIBRATION_PAIRS, "data": self.eyes.source, "seed": _SEED}
        return self._labelled(content, "int8"), {"calibration": calibration}

    def _labelled(self, content: bytes, precision: Precision) -> Converted:
        return Converted(labelled(content, self.format, self.label), precision, self.format)

    def _proven(self, converted: Converted, build: dict[str, Any]) -> Travelling:
        with self.progress(f"comparing the {self.name} with Keras", PARITY_PAIRS) as advance:
            proof = prove(
                converted,
                self.model,
                self.eyes.compared[self.name],
                data=self.eyes.source,
                sight=self.eyes.sight if self.name == "redirector" else None,
                advance=advance,
            )
        return Travelling(converted, proof, build)


def _eyes(
    samples: EyeSamples, estimator: keras.Model, conventions: Conventions, *, calibrate: bool
) -> _Eyes:
    pairs = balanced_pairs(samples, PARITY_PAIRS + CALIBRATION_PAIRS * calibrate, seed=_SEED)
    compared, rest = np.split(pairs, [PARITY_PAIRS])
    return _Eyes(
        samples.source,
        inputs_of_pairs(samples, rest, conventions) if calibrate else None,
        inputs_of_pairs(samples, compared, conventions),
        Sight.of_pairs(estimator, samples, compared, conventions),
    )


def _check_complete(run: RunFolder) -> None:
    for name, stage in run.record.stages.items():
        if name != "judge" and not stage.complete:
            raise RunError(
                f"{run.path}: stage {name} is at step {stage.done} of {stage.steps}; go on with: "
                f"mggr-tf train --stage {name} --out {run.path} --resume"
            )
