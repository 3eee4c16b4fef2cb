"""Verify a bundle: compare its files with Keras models that are rebuilt from the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.common.progress import Progress
from mggr_edge.errors import BundleError, UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.contract import Artifact, Contract
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.installed import DEFAULT, bundle_path, packaged_bundles
from mggr_edge.models.runtimes import FileRunner, check_fits
from mggr_export.exporting.request import draw_people
from mggr_export.eyes.export_eyes import balanced_pairs, inputs_of_pairs, with_closing_eyes
from mggr_export.eyes.sight import Openings, Sight
from mggr_export.formats import model_format, quiet_converter
from mggr_export.formats.keras_models import config_of, models_of_bundle, models_of_run
from mggr_export.proofs.proof import Converted, Proof, file_name, prove
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC, open_samples
from mggr_tf.evaluation.state_scores import state_eyes
from mggr_tf.runs.listing import open_run

_SEED = 65
_PEOPLE = 4


def verify_bundle(
    path: str | Path,
    *,
    data: str,
    subjects: tuple[str, ...] | None = None,
    pairs: int,
    progress: Progress,
    notify: Callable[[str], None],
) -> dict[str, Proof]:
    """Rebuild the Keras models of a bundle, and compare every model file with Keras again.

    The Keras models are rebuilt from the reference weights in the bundle. A packaged bundle
    contains no reference weights, so the weights of the packaged run are used.

    Args:
        path: Folder or zip file of the bundle, or the name of a packaged bundle.
        data: Eye patches for the comparison, either `synthetic` or a folder.
        subjects: Subjects of the folder that are used. `None` uses all subjects.
        pairs: Number of pairs of patches for the comparison.
        progress: Factory of progress bars.
        notify: Callback for messages about the selected data.

    Returns:
        Results of the checks (proofs) by file name. The attribute `faults` of a proof lists the
        failed checks.

    Raises:
        BundleError: If the bundle is damaged, has another schema, or has no reference weights.
        DataError: If the eyes are not available.
        UsageError: If `subjects` is set for synthetic data. Also raised if the bundle was
            calibrated on any of `subjects`, or on all subjects of the folder.
    """
    bundle = Bundle.open(path)
    files, contract = read_bundle_files(bundle_path(path)), bundle.contract
    limits = config_of(contract).limits
    samples = _samples(data, contract, subjects, progress=progress, notify=notify)
    with quiet_converter():
        for artifact in (one for formats in contract.models.values() for one in formats):
            check_fits(_opened(artifact, files), artifact)
        packaged = bundle_path(path).resolve().parent == packaged_bundles().resolve()
        models = models_of_run(open_run(DEFAULT)) if packaged else models_of_bundle(contract, files)
        converted = {name: _converted(contract, name, files) for name in models}
        total = pairs * sum(len(formats) for formats in converted.values())
        chosen = balanced_pairs(samples, pairs, seed=_SEED)
        closing = _closing(contract, progress=progress)
        inputs = with_closing_eyes(
            inputs_of_pairs(samples, chosen, contract.conventions), closing, contract.conventions
        )
        sights = {"redirector": _sight(models, samples, chosen, contract.conventions)}
        openings = {"redirector": Openings.of_pairs(samples, chosen, contract.conventions)}
        with progress("comparing with Keras", total) as advance:
            return {
                file_name(name, one): prove(
                    one,
                    model,
                    inputs[name],
                    limits=limits,
                    data=samples.source,
                    sight=sights.get(name),
                    openings=openings.get(name),
                    advance=advance,
                )
                for name, model in models.items()
                for one in converted[name]
            }


def _opened(artifact: Artifact, files: Mapping[str, bytes]) -> FileRunner:
    if artifact.format == "keras-weights":
        raise BundleError(
            f"{artifact.file}: Keras weights are not a runnable model",
            code="weights-not-runnable",
            file=artifact.file,
        )
    return model_format(artifact.format).open(files[artifact.file])


def _converted(contract: Contract, name: str, files: Mapping[str, bytes]) -> list[Converted]:
    comparable = [
        Converted(files[artifact.file], artifact.precision, artifact.format)
        for artifact in contract.models.get(name, ())
        if artifact.format != "keras-weights"
    ]
    if not comparable:
        raise BundleError(
            f"the bundle has reference weights for {name}, but no model to compare with them",
            code="no-model-to-compare",
            model=name,
        )
    return comparable


def _sight(
    models: Mapping[str, keras.Model],
    samples: EyeSamples,
    pairs: NDArray[np.int64],
    conventions: Conventions,
) -> Sight | None:
    estimator = models.get("estimator")
    return None if estimator is None else Sight.of_pairs(estimator, samples, pairs, conventions)


def _closing(contract: Contract, *, progress: Progress) -> EyeSamples | None:
    """Render closing eyes if the estimator predicts the eye state; otherwise return `None`.

    Closing eyes are synthetic eyes that are partly or fully closed. Neither the training nor the
    export uses these synthetic people.
    """
    config = config_of(contract)
    if not config.models.estimator_state:
        return None
    return state_eyes(config.synthetic.seed + 1, people=_PEOPLE, progress=progress)


def _samples(
    data: str,
    contract: Contract,
    subjects: tuple[str, ...] | None,
    *,
    progress: Progress,
    notify: Callable[[str], None],
) -> EyeSamples:
    config = config_of(contract)
    if data == SYNTHETIC:
        if subjects is not None:
            raise UsageError(
                "--subjects and --split select subjects of a folder; pass a folder with --data",
                code="subjects-without-folder",
            )
        # Another seed renders people who are not in the run's training and calibration data.
        others = replace(config.synthetic, seed=config.synthetic.seed + 1, subjects=_PEOPLE)
        strangers = replace(config, synthetic=others)
        return draw_people(strangers, _PEOPLE, progress=progress, notify=notify)
    notify(f"eyes: {data}")
    calibrated = calibrated_people(contract)
    if subjects is not None and (seen := sorted({*subjects} & calibrated)):
        raise UsageError(
            f"the bundle was calibrated on {len(seen)} of these subjects ({', '.join(seen[:5])}); "
            "pass other subjects with --subjects",
            code="subjects-calibrated-on",
            count=len(seen),
            subjects=", ".join(seen[:5]),
        )
    samples = open_samples(data, config=config, subjects=subjects, progress=progress, notify=notify)
    others_there = set(samples.subjects) - calibrated
    if not others_there:
        raise UsageError(
            f"the bundle was calibrated on all {len(samples.subjects)} subjects of {data}; pass "
            "eyes of other people with --data",
            code="all-subjects-calibrated-on",
            count=len(samples.subjects),
            data=data,
        )
    if left_out := len(samples.subjects) - len(others_there):
        notify(f"excluded {left_out} subjects that the bundle was calibrated on")
    return samples.of_subjects(others_there)


def calibrated_people(contract: Contract) -> set[str]:
    """Return the names of all people in the calibration data of the bundle's int8 models.

    The set is empty for a float bundle. The set is also empty for a bundle of an earlier version
    that did not record names.
    """
    artifacts = (one for formats in contract.models.values() for one in formats)
    records = (artifact.build.get("calibration") for artifact in artifacts)
    return {
        str(name)
        for record in records
        if isinstance(record, dict)
        for name in record.get("subjects", ())
    }
