"""Export a run as a bundle: convert each model, check the files, and write the bundle."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tensorflow import keras

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.progress import Progress
from mggr_edge.errors import ArtifactError, MissingPackageError, RunError, UsageError
from mggr_edge.models.bundle_archive import CONTRACT_FILE
from mggr_export.exporting.bundle_writer import bundle_files, write_files
from mggr_export.exporting.exporter import Exporter
from mggr_export.exporting.labels import label_of
from mggr_export.exporting.request import ExportRequest, closing_for_export, samples_for_export
from mggr_export.eyes.export_eyes import ExportEyes, choose_eyes
from mggr_export.formats import model_format, quiet_converter
from mggr_export.formats.keras_models import models_of_run
from mggr_export.proofs.proof import faults_of, file_name, proofs_text
from mggr_tf.config.conversion_limits import ConversionLimits
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import free_name, packaged_run
from mggr_tf.runs.record import Origin

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
            is in the current working folder. If this folder exists, a number is appended to the
            name.
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
        MissingPackageError: If a format or QAT requires a package that is not installed.
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
                if "int8" in model_format(made.converted.format).precisions:
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
