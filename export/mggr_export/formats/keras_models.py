"""The Keras models of a run or a bundle, and their frozen functions for converters.

The batch is fixed and every input and output has its name: what a device sees is
one eye or both, and converters turn unknown sizes into arithmetic on shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.errors import BundleError, ConfigError, RunError
from mggr_edge.models.contract import Contract
from mggr_tf.config import Config, config_from_plain
from mggr_tf.evaluation.trained import load_exported
from mggr_tf.models.networks import Networks, load_weights
from mggr_tf.runs.folder import RunFolder


def models_of_run(run: RunFolder) -> dict[str, keras.Model]:
    """The models that a bundle of this run holds, by the names that they have there.

    Raises:
        RunError: the run holds no trained redirector.
    """
    return _exported_networks(load_exported(run))


def models_of_bundle(contract: Contract, files: Mapping[str, bytes]) -> dict[str, keras.Model]:
    """The same models, rebuilt from a bundle alone.

    Args:
        contract: of the bundle; its training config says what to build.
        files: the bundle's files by their names.

    Raises:
        BundleError: no reference weights, or weights that do not fit the config.
    """
    if not contract.references:
        raise BundleError("the bundle has no reference weights; export it again to verify it")
    try:
        models = _exported_networks(Networks(config_of(contract)))
        with TemporaryDirectory() as folder:
            for name, reference in contract.references.items():
                if name not in models:
                    raise BundleError(f"the bundle has a reference for an unknown model {name!r}")
                weights = Path(folder) / f"{name}.npz"
                weights.write_bytes(files[reference.file])
                load_weights(models[name], weights)
    except RunError as error:
        raise BundleError(f"the bundle's reference cannot be rebuilt: {error}") from error
    return {name: models[name] for name in contract.references}


def config_of(contract: Contract) -> Config:
    """The config that a bundle's models were trained with.

    Raises:
        BundleError: another version's config, or none.
    """
    try:
        return config_from_plain(contract.training.config)
    except ConfigError as error:
        raise BundleError(f"the bundle's training config cannot be read: {error}") from error


def outputs_of(
    model: keras.Model, inputs: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """What Keras itself computes, every output by its name.

    Args:
        inputs: [N, ...] each, by name.
    """
    made = outputs_by_name(model, model(dict(inputs), training=False))
    return {name: np.asarray(value) for name, value in made.items()}


def outputs_by_name(model: keras.Model, made: Any) -> dict[str, Any]:
    """What a call of a model returned, one tensor or several, by their names."""
    return made if isinstance(made, dict) else {model.output_names[0]: made}


def _exported_networks(networks: Networks) -> dict[str, keras.Model]:
    return {"redirector": networks.averaged.joined, "estimator": networks.estimator}


SIGNATURE = "serving_default"


@dataclass(frozen=True)
class FrozenModel:
    """A concrete function and what keeps its variables alive.

    Attributes:
        function: of keyword arguments named as the model's inputs; returns a dict.
        owner: holds the variables; converters ask for it.
    """

    function: Any
    owner: tf.Module


def freeze(model: keras.Model, *, batch: int = 1) -> FrozenModel:
    """Traces a model in inference mode.

    Args:
        model: of a dict of named inputs; its output is one tensor or a dict.
        batch: how many examples it shall take at once, always.
    """
    inputs = {tensor.name: tensor for tensor in model.inputs}
    specs = {
        name: tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name=name)
        for name, tensor in inputs.items()
    }

    @tf.function(autograph=False)
    def serve(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        named = outputs_by_name(model, model(tensors, training=False))
        return {name: tf.identity(value, name=name) for name, value in named.items()}

    owner = tf.Module()
    # The variables alone: with the model, the converter would save all of Keras' own
    # functions too, which takes several times as long and changes nothing.
    owner.weights = list(model.weights)
    return FrozenModel(serve.get_concrete_function(**specs), owner)
