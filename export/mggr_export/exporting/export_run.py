"""From a run to a bundle: converts each model, proves it, and writes the bundle."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tensorflow import keras

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.progress import Progress
from mggr_edge.errors import MissingPackageError, RunError, UsageError
from mggr_edge.models.bundle_archive import CONTRACT_FILE
from mggr_export.errors import ArtifactError
from mggr_export.exporting.bundle_writer import BundledModel, bundle_files, write_files
from mggr_export.exporting.labels import label_of, labelled
from mggr_export.exporting.request import (
    Batch,
    ExportRequest,
    closing_for_export,
    samples_for_export,
)
from mggr_export.eyes.export_eyes import (
    CALIBRATION_PAIRS,
    PARITY_PAIRS,
    SEED,
    ExportEyes,
    choose_eyes,
)
from mggr_export.formats import model_format
from mggr_export.formats.keras_models import models_of_run, outputs_of
from mggr_export.formats.model_format import FileFormat
from mggr_export.formats.quiet import quiet_converter
from mggr_export.proofs.explain import explain, explained_text
from mggr_export.proofs.proof import Converted, faults_of, file_name, proofs_text, prove, shown
from mggr_tf.config.conversion_limits import ConversionLimits, Precision
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import free_name, packaged_run
from mggr_tf.runs.record import Origin

_PAIRS_TO_EXPLAIN = 32
_FITTED = "qat"
"""Where a file's record says that its weights were fitted."""

_MAY_STAY_FLOAT = frozenset({"estimator"})
"""Models whose int8 file may miss its limits: they then travel in float32, and it is said."""


@dataclass(frozen=True)
class Exporter:
    """Converts and proves a model.

    Attributes:
        name: of the model in the bundle.
        model: in Keras.
        label: what its files say of themselves.
        batch: eyes that its files take at once.
        eyes: what it is calibrated and compared on.
        limits: what its files may differ by.
        fitted: its copy with weights fitted to integers; None goes without.
        progress: shows how far it is.
        notify: tells the user what was decided.
    """

    name: str
    model: keras.Model
    label: str
    batch: Batch
    eyes: ExportEyes
    limits: ConversionLimits
    fitted: keras.Model | None
    progress: Progress
    notify: Callable[[str], None]

    def export(self, precision: Precision, file_format: FileFormat) -> BundledModel:
        """The model in one format. What its proof found stands in the result.

        A format that cannot be written in that precision, and an estimator that it hurts,
        stay float32, and it is said.

        Raises:
            BundleError: the converter gave other inputs or outputs than the model's.
        """
        if precision not in model_format(file_format).precisions:
            self.notify(f"{self.name} as {file_format}: float32, the only precision that it has")
            precision = "float32"
        exported = self._exported(precision, file_format)
        if precision == "int8" and exported.proof.faults and self.name in _MAY_STAY_FLOAT:
            file = file_name(self.name, exported.converted)
            self.notify(f"{file} stays float32; in int8 {faults_of({file: exported.proof})}")
            return self._exported("float32", file_format)
        return exported

    def explain(self, exported: BundledModel) -> str:
        """Where an int8 file loses what it loses, as a table."""
        assert self.eyes.calibration is not None
        file_format = exported.converted.format
        inputs = {
            name: value[:_PAIRS_TO_EXPLAIN] for name, value in self.eyes.compared[self.name].items()
        }
        with self.progress(f"laying the {self.name} open", None) as advance:
            opened = model_format(file_format).dissect(
                self.fitted if _is_fitted(exported) else self.model,
                self.eyes.calibration[self.name],
                batch=self.batch,
            )
            costs = explain(opened, outputs_of(self.model, inputs), inputs, advance=advance)
        return explained_text(file_name(self.name, exported.converted), costs)

    def _exported(self, precision: Precision, file_format: FileFormat) -> BundledModel:
        plain = self._proven(self.model, precision, file_format)
        if precision != "int8" or self.fitted is None:
            return plain
        fitted = self._proven(self.fitted, precision, file_format)
        before, after = _psnr_db(plain), _psnr_db(fitted)
        # Within the limits first: a bundle that passes without a fit passes with one.
        is_better = (not fitted.proof.faults, after) > (not plain.proof.faults, before)
        better = fitted if is_better else plain
        self.notify(
            f"{file_name(self.name, plain.converted)}: {after:.1f} dB with weights fitted to "
            f"integers, {before:.1f} dB by calibration alone"
            + ("" if better is fitted else "; the fitted ones are left out")
        )
        if better is fitted and self.eyes.fitting is not None:
            gain_db = float(f"{after - before:.3g}")
            fitted.build[_FITTED] = {"pairs": len(self.eyes.fitting.pairs), "gain_db": gain_db}
        return better

    def _proven(
        self, model: keras.Model, precision: Precision, file_format: FileFormat
    ) -> BundledModel:
        """A file of some model, held against the one that was trained."""
        content, build = self._converted(model, precision, file_format)
        converted = Converted(labelled(content, file_format, self.label), precision, file_format)
        with self.progress(f"comparing the {self.name} with Keras", PARITY_PAIRS) as advance:
            proof = prove(
                converted,
                self.model,
                self.eyes.compared[self.name],
                limits=self.limits,
                data=self.eyes.source_of(self.name),
                sight=self.eyes.sight if self.name == "redirector" else None,
                openings=self.eyes.openings if self.name == "redirector" else None,
                advance=advance,
            )
        return BundledModel(converted, proof, build)

    def _converted(
        self, model: keras.Model, precision: Precision, file_format: FileFormat
    ) -> tuple[bytes, dict[str, Any]]:
        """The file, and how it was made as far as that is not said elsewhere."""
        convert = model_format(file_format)
        if precision != "int8":
            with self.progress(f"converting the {self.name} to {file_format}", None):
                to_float = convert.float16 if precision == "float16" else convert.float32
                return to_float(model, batch=self.batch), {}
        assert self.eyes.calibration is not None
        inputs = self.eyes.calibration[self.name]
        with self.progress(f"calibrating the {self.name}", CALIBRATION_PAIRS) as advance:
            content = convert.int8(model, inputs, batch=self.batch, advance=advance)
        source = {
            "pairs": CALIBRATION_PAIRS,
            "data": self.eyes.calibrated_on_of(self.name),
            "seed": SEED,
            "subjects": list(self.eyes.calibrated_people_of(self.name)),
        }
        return content, {"calibration": source}


def _is_fitted(exported: BundledModel) -> bool:
    return _FITTED in exported.build


def _psnr_db(exported: BundledModel) -> float:
    """Of what the model's user sees, against Keras."""
    parity = {one.output: one for one in exported.proof.parity}
    found = parity[shown(parity)].psnr_db
    return math.inf if found is None else found


Say = Callable[[str], None]

_NAMES = {"float32": "bundle-float", "float16": "bundle-fp16", "int8": "bundle-int8"}


def export_run(
    run: RunFolder,
    out: Path | None,
    request: ExportRequest,
    *,
    force: bool = False,
    progress: Progress,
    notify: Say,
) -> Path:
    """Exports a run's averaged redirector and estimator as a bundle.

    Every model is compared with Keras before anything is written; a bundle that
    misses a limit of the run's config is not written at all.

    Args:
        run: whose stages are complete.
        out: the bundle's folder; None takes `bundle-int8`, `bundle-fp16` or `bundle-float`
            in the run (of the packaged one: in the working folder), with a number behind it
            where that is taken.
        request: what the bundle shall hold.
        force: `out` may replace another bundle.
        progress: shows how far it is.
        notify: tells the user what was chosen and what was measured.

    Returns:
        the bundle's path.

    Raises:
        RunError: the run is not trained to its end.
        OutputExistsError: `out` exists and `force` is false.
        UsageError: `out` exists and is no bundle; or it was created meanwhile, and the bundle got
            the next free name.
        DataError: the eyes cannot be had.
        ArtifactError: a converted model is not the Keras model.
        MissingPackageError: a format's packages, or those that fit weights, are not installed.
    """
    _check_complete(run)
    for file_format in request.formats:
        model_format(file_format)
    if request.qat_steps and find_spec("tensorflow_model_optimization") is None:
        raise MissingPackageError("TensorFlow Model Optimization", "export")
    # Packages are not written to: the default run's bundles go where the user is.
    home = Path() if run.path.resolve() == packaged_run().resolve() else run.path
    target = out or free_name(home, _NAMES[request.precision])
    if force and target.exists() and not (target / CONTRACT_FILE).is_file():
        raise UsageError(f"{target} is no bundle; --force replaces bundles only")
    _note_missing_limit(run, request, notify=notify)
    moved: list[Path] = []
    with atomic_folder(
        target,
        force=force and out is not None,
        elsewhere=moved.append,
        numbered=None if out else lambda number: home / f"{_NAMES[request.precision]}-{number}",
    ) as folder:
        models = models_of_run(run)
        compared, calibration = samples_for_export(run, request, progress=progress, notify=notify)
        fitted_on = _fitted_on(run, request, calibration)
        with quiet_converter():
            eyes = choose_eyes(
                compared,
                calibration,
                estimator=models["estimator"],
                conventions=run.config.conventions,
                fitting_steps=request.qat_steps,
                closing=closing_for_export(run.config, progress=progress),
            )
            exporters = _exporters(
                run, request, models, eyes, fitted_on=fitted_on, progress=progress, notify=notify
            )
            files = _proven_files(run, request, exporters, fitted_on=fitted_on, notify=notify)
        write_files(folder, files)
    if moved and out is not None:
        raise UsageError(
            f"{out} was created by another program meanwhile; the bundle is {moved[-1]}"
        )
    return moved[-1] if moved else target


def _exporters(
    run: RunFolder,
    request: ExportRequest,
    models: Mapping[str, keras.Model],
    eyes: ExportEyes,
    *,
    fitted_on: Sequence[Origin],
    progress: Progress,
    notify: Say,
) -> list[Exporter]:
    fitted = _fitted(models, eyes, steps=request.qat_steps, progress=progress)
    return [
        Exporter(
            name,
            model,
            label_of(run, name, fitted_on=fitted_on),
            batch=request.batch,
            eyes=eyes,
            limits=run.config.limits,
            fitted=fitted.get(name),
            progress=progress,
            notify=notify,
        )
        for name, model in models.items()
    ]


def _fitted(
    models: Mapping[str, keras.Model], eyes: ExportEyes, *, steps: int, progress: Progress
) -> dict[str, keras.Model]:
    """The models with weights fitted to integers; none where that is not asked for."""
    if eyes.fitting is None or eyes.calibration is None:
        return {}
    from mggr_export.qat import fitted_to_integers

    fitted = {}
    for name, model in models.items():
        with progress(f"fitting the {name} to integers", steps) as advance:
            fitted[name] = fitted_to_integers(
                model,
                eyes.calibration[name],
                eyes.fitting.batches(name),
                steps=steps,
                advance=advance,
            )
    return fitted


def _proven_files(
    run: RunFolder,
    request: ExportRequest,
    exporters: list[Exporter],
    *,
    fitted_on: Sequence[Origin],
    notify: Say,
) -> dict[str, bytes]:
    exported = {
        one.name: [one.export(request.precision, kind) for kind in request.formats]
        for one in exporters
    }
    proofs = {
        file_name(name, one.converted): one.proof for name, all_ in exported.items() for one in all_
    }
    notify(proofs_text(proofs))
    if request.explain:
        for one in exporters:
            for made in exported[one.name]:
                if made.converted.precision == "int8":
                    notify(one.explain(made))
    if faults := faults_of(proofs):
        raise ArtifactError(f"not exported; {faults}")
    models = {one.name: one.model for one in exporters}
    return bundle_files(
        run,
        models,
        exported,
        lean=request.lean,
        engine_recipe=request.engine_recipe,
        fitted_on=fitted_on,
    )


def _fitted_on(
    run: RunFolder, request: ExportRequest, calibration: EyeSamples | None
) -> tuple[Origin, ...]:
    """The eyes that weights are fitted to integers on: they change what a file learned from."""
    if not request.qat_steps or calibration is None:
        return ()
    source = request.calibration or request.data or run.record.data.source
    data = source if source == SYNTHETIC else Path(source).name
    return (Origin("export --qat", data, calibration.licence, calibration.subjects),)


def _note_missing_limit(run: RunFolder, request: ExportRequest, *, notify: Say) -> None:
    """Says that a run from before the eye opening had a limit is not held to one."""
    precision = request.precision
    default = ConversionLimits().of(precision).opening
    if default is None or run.config.limits.of(precision).opening is not None:
        return
    notify(
        "the run's config is older than the limit of the eye opening and has none; add "
        f'--set "limits.{precision}.opening={{min_psnr_db: {default.min_psnr_db:g}}}"'
    )


def _check_complete(run: RunFolder) -> None:
    for name, stage in run.record.stages.items():
        if name != "judge" and not stage.complete:
            raise RunError(
                f"{run.path}: stage {name} is at step {stage.done} of {stage.steps}; go on with: "
                f"mggr-tf train --stage {name} --out {shlex.quote(str(run.path))} --resume"
            )
