"""Export a run as a bundle: convert each model, check the files, and write the bundle."""

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
from mggr_edge.errors import ArtifactError, MissingPackageError, RunError, UsageError
from mggr_edge.models.bundle_archive import CONTRACT_FILE
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
"""Key under which the build record of a file describes QAT (quantization-aware training)."""

_MAY_STAY_FLOAT = frozenset({"estimator"})
"""Models that are stored in float32 if their int8 file exceeds a limit. The user gets a message."""


@dataclass(frozen=True)
class Exporter:
    """Converter of one model, which also checks the converted files.

    Attributes:
        name: Name of the model in the bundle.
        model: Keras model.
        label: Text for the metadata of the model's files. `label_of` writes this text.
        batch: Number of eyes that a file processes per call.
        eyes: Eyes for the calibration and for the comparison.
        limits: Allowed differences between the model's files and Keras.
        fitted: Copy of the model with weights from QAT. `None` without QAT.
        progress: Factory of progress bars.
        notify: Callback for messages to the user.
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
        """Convert the model to one format, check the file, and return both.

        The file is float32 if the format does not support the precision. The file is also float32
        if the int8 file of an estimator exceeds a limit. In both cases, the user receives a
        message.

        Raises:
            BundleError: If the inputs or outputs of the converted file differ from those of the
                model.
        """
        if precision not in model_format(file_format).precisions:
            self.notify(
                f"{self.name} as {file_format}: float32, because the format has only this precision"
            )
            precision = "float32"
        exported = self._exported(precision, file_format)
        if precision == "int8" and exported.proof.faults and self.name in _MAY_STAY_FLOAT:
            file = file_name(self.name, exported.converted)
            self.notify(
                f"{file} stays float32, because the int8 file exceeds a limit: "
                f"{faults_of({file: exported.proof})}"
            )
            return self._exported("float32", file_format)
        return exported

    def explain(self, exported: BundledModel) -> str:
        """Measure the accuracy loss of each layer of an int8 file, and return a table."""
        assert self.eyes.calibration is not None
        file_format = exported.converted.format
        inputs = {
            name: value[:_PAIRS_TO_EXPLAIN] for name, value in self.eyes.compared[self.name].items()
        }
        with self.progress(f"measuring each layer of the {self.name}", None) as advance:
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
        # A file within the limits is better than a file that exceeds a limit, even with a lower
        # PSNR. A bundle that passes without QAT therefore also passes with QAT.
        is_better = (not fitted.proof.faults, after) > (not plain.proof.faults, before)
        better = fitted if is_better else plain
        self.notify(
            f"{file_name(self.name, plain.converted)}: PSNR {after:.1f} dB with QAT, "
            f"{before:.1f} dB with calibration alone"
            + ("" if better is fitted else "; the original weights are kept")
        )
        if better is fitted and self.eyes.fitting is not None:
            gain_db = float(f"{after - before:.3g}")
            fitted.build[_FITTED] = {"pairs": len(self.eyes.fitting.pairs), "gain_db": gain_db}
        return better

    def _proven(
        self, model: keras.Model, precision: Precision, file_format: FileFormat
    ) -> BundledModel:
        """Convert a model to a file, and compare the file with the trained Keras model."""
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
        """Return the content of the converted file, and its build record.

        The build record of an int8 file describes the calibration data. All other build records are
        empty.
        """
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
    """Return the PSNR in dB of the output that the user sees, compared with Keras.

    The result is infinite if both outputs are equal.
    """
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
    """Export a run's redirector and its estimator as a bundle.

    The redirector has the moving averages of the trained weights. Every model file is compared with
    Keras before the bundle is written. If a file exceeds a limit in the run's config, no bundle is
    written.

    Args:
        run: Run whose stages are complete.
        out: Folder of the bundle. If `out` is `None`, the bundle is written to `bundle-int8`,
            `bundle-fp16` or `bundle-float` in the run's folder. For the packaged run, this folder
            is in the current working folder. If the name is taken, a number is appended.
        request: Options of the export.
        force: Whether `out` may replace another bundle.
        progress: Factory of progress bars.
        notify: Callback for messages about the selected data and the measured differences.

    Returns:
        Path of the bundle.

    Raises:
        RunError: If the training of the run is not complete.
        OutputExistsError: If `out` exists and `force` is false.
        UsageError: If `out` exists and is not a bundle. Also raised if another program created
            `out` during the export. In this case, the bundle has the next free name.
        DataError: If the eyes for the comparison or for the calibration are not available.
        ArtifactError: If a converted file exceeds a limit, or if its structure is invalid.
        MissingPackageError: If a package that a format or QAT requires is not installed.
    """
    _check_complete(run)
    for file_format in request.formats:
        model_format(file_format)
    if request.qat_steps and find_spec("tensorflow_model_optimization") is None:
        raise MissingPackageError("TensorFlow Model Optimization", "export")
    # The export does not write to the installed package. Bundles of the packaged run are written to
    # the current working folder.
    home = Path() if run.path.resolve() == packaged_run().resolve() else run.path
    target = out or free_name(home, _NAMES[request.precision])
    if force and target.exists() and not (target / CONTRACT_FILE).is_file():
        raise UsageError(
            f"{target} is not a bundle; --force can replace only bundles",
            code="force-not-a-bundle",
            path=target,
        )
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
            f"another program created {out} during the export; the bundle is in {moved[-1]}",
            code="output-created-meanwhile",
            path=out,
            moved=moved[-1],
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
    """Return the models with weights from QAT, by name.

    The result is empty without QAT.
    """
    if eyes.fitting is None or eyes.calibration is None:
        return {}
    from mggr_export.qat import fitted_to_integers

    fitted = {}
    for name, model in models.items():
        with progress(f"fine-tuning the {name} for int8", steps) as advance:
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
        raise ArtifactError(
            f"not exported; {faults}",
            code="checks-failed",
            files=", ".join(name for name, proof in proofs.items() if proof.faults),
            faults=faults,
        )
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
    """Return the origin of the QAT data.

    The bundle records this origin, because the exported weights depend on the QAT data.
    """
    if not request.qat_steps or calibration is None:
        return ()
    source = request.calibration or request.data or run.record.data.source
    data = source if source == SYNTHETIC else Path(source).name
    return (Origin("export --qat", data, calibration.licence, calibration.subjects),)


def _note_missing_limit(run: RunFolder, request: ExportRequest, *, notify: Say) -> None:
    """Print a message if the run's config has no limit for the eye opening.

    Earlier versions wrote configs without this limit. The export then cannot check the limit.
    """
    precision = request.precision
    default = ConversionLimits().of(precision).opening
    if default is None or run.config.limits.of(precision).opening is not None:
        return
    notify(
        "the run's config has no PSNR limit for the eye opening, because an earlier version wrote "
        "this config; to check the current limit, add "
        f'--set "limits.{precision}.opening={{min_psnr_db: {default.min_psnr_db:g}}}"'
    )


def _check_complete(run: RunFolder) -> None:
    for name, stage in run.record.stages.items():
        if name != "judge" and not stage.complete:
            raise RunError(
                f"{run.path}: stage {name} is at step {stage.done} of {stage.steps}; continue "
                f"with: mggr-tf train --stage {name} --out {shlex.quote(str(run.path))} --resume",
                code="stage-incomplete",
                path=run.path,
                stage=name,
                done=stage.done,
                steps=stage.steps,
            )
