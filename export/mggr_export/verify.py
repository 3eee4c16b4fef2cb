"""Repeats a bundle's proof, from the bundle alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mggr_edge.bundle import Bundle, read_bundle_files
from mggr_edge.errors import BundleError, ConfigError
from mggr_edge.progress import Progress
from mggr_tf.config import Config, config_from_plain
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC, open_samples

from mggr_export.calibration import balanced_pairs, inputs_of_pairs
from mggr_export.export_data import draw_people
from mggr_export.keras_models import models_of_bundle
from mggr_export.proof import Converted, Proof, prove
from mggr_export.quiet import quiet_converter

_SEED = 65
_PEOPLE = 4


def verify_bundle(
    path: Path,
    *,
    data: str,
    pairs: int,
    progress: Progress,
    say: Callable[[str], None],
) -> dict[str, Proof]:
    """Rebuilds Keras from the reference weights and compares every model with it again.

    Args:
        path: a bundle, folder or zip.
        data: eyes to compare on: `synthetic` or a folder.
        pairs: how many.
        progress: shows how far it is.
        say: tells the user what was chosen.

    Returns:
        what was found, by model; look at `faults`.

    Raises:
        BundleError: damaged, of another schema, or without reference weights.
        DataError: the eyes cannot be had.
    """
    bundle = Bundle.open(path)
    files, contract = read_bundle_files(path), bundle.contract
    models = models_of_bundle(contract, files)
    for name in contract.models:
        bundle.model(name)  # loads, and holds its tensors against the contract
    samples = _samples(data, _config(contract.training.config), progress=progress, say=say)
    inputs = inputs_of_pairs(
        samples, balanced_pairs(samples, pairs, seed=_SEED), contract.conventions
    )
    proofs = {}
    with quiet_converter(), progress("comparing with Keras", pairs * len(models)) as advance:
        for name, model in models.items():
            artifact = contract.models[name]
            proofs[name] = prove(
                Converted(files[artifact.file], artifact.precision),
                model,
                inputs[name],
                data=samples.source,
                advance=advance,
            )
    return proofs
