"""A run behind the device's own `Bundle`, so that both redirect by the same code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.bundle import Bundle
from mggr_edge.models.contract import Artifact, Contract
from mggr_edge.models.installed import bundle_path
from mggr_edge.models.runtimes import Runner
from mggr_tf.evaluation.trained import load_travelling
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import training_of


def open_model(name_or_path: str | Path) -> Bundle:
    """Opens a run or a bundle, or a packaged bundle by its name, for redirecting.

    Raises:
        RunError: a run that holds no trained redirector.
        BundleError: neither a run nor a whole bundle.
    """
    path = bundle_path(name_or_path)
    if (path / "run.json").is_file():
        return bundle_of_run(RunFolder.open(path))
    return Bundle.open(path)


def bundle_of_run(run: RunFolder) -> Bundle:
    """A run's Keras models and this machine's landmark models as a bundle in memory."""
    networks = load_travelling(run)

    def redirector(inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        made = networks.averaged.joined(dict(inputs), training=False)
        return {name: np.asarray(value) for name, value in made.items()}

    def estimator(inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        made = networks.estimator(dict(inputs), training=False)
        return {name: np.asarray(value) for name, value in made.items()}

    keras_models: dict[str, Runner] = {"redirector": redirector, "estimator": estimator}
    contract = Contract(
        models={name: (Artifact(name, "keras-weights", "float32", ""),) for name in keras_models},
        training=training_of(run),
        conventions=run.config.conventions,
    )
    return Bundle(contract, keras_models.__getitem__)
