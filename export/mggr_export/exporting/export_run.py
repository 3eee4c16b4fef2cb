"""From a run to a bundle: freeze, convert, prove, write."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tensorflow import keras

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.progress import Progress
from mggr_edge.errors import MissingPackageError, RunError, UsageError
from mggr_edge.models.bundle import CONTRACT_FILE
from mggr_export.bundle.labels import label_of
from mggr_export.bundle.writer import bundle_files, write_files
from mggr_export.errors import ArtifactError
from mggr_export.exporting.export_data import closing_for_export, samples_for_export
from mggr_export.exporting.exporter import Exporter
from mggr_export.exporting.request import ExportRequest
from mggr_export.eyes.export_eyes import ExportEyes, choose_eyes
from mggr_export.formats.keras_models import models_of_run
from mggr_export.formats.quiet import quiet_converter
from mggr_export.formats.registry import model_format
from mggr_export.proofs.proof import faults_of, file_name, proofs_text
from mggr_tf.config.conversion_limits import ConversionLimits
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC
from mggr_tf.runs.default_run import packaged_run
from mggr_tf.runs.folder import Origin, RunFolder, free_name

Say = Callable[[str], None]

_NAMES = {"float32": "bundle-float", "float16": "bundle-fp16", "int8": "bundle-int8"}


def export_run(
    run: RunFolder,
    out: Path | None,
    request: ExportRequest,
    *,
    force: bool = False,
    progress: Progress,
    say: Say,
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
        say: tells the user what was chosen and what was measured.

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
    _note_missing_limit(run, request, say=say)
    moved: list[Path] = []
    with atomic_folder(
        target,
        force=force and out is not None,
        elsewhere=moved.append,
        numbered=None if out else lambda number: home / f"{_NAMES[request.precision]}-{number}",
    ) as folder:
        models = models_of_run(run)
        compared, calibration = samples_for_export(run, request, progress=progress, say=say)
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
                run, request, models, eyes, fitted_on=fitted_on, progress=progress, say=say
            )
            files = _proven_files(run, request, exporters, fitted_on=fitted_on, say=say)
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
    say: Say,
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
            say=say,
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
    say: Say,
) -> dict[str, bytes]:
    exported = {
        one.name: [one.export(request.precision, kind) for kind in request.formats]
        for one in exporters
    }
    proofs = {
        file_name(name, one.converted): one.proof for name, all_ in exported.items() for one in all_
    }
    say(proofs_text(proofs))
    if request.explain:
        for one in exporters:
            for made in exported[one.name]:
                if made.converted.precision == "int8":
                    say(one.explain(made))
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


def _note_missing_limit(run: RunFolder, request: ExportRequest, *, say: Say) -> None:
    """Says that a run from before the eye opening had a limit is not held to one."""
    precision = request.precision
    default = ConversionLimits().of(precision).opening
    if default is None or run.config.limits.of(precision).opening is not None:
        return
    say(
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
