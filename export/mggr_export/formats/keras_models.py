"""Rebuild the Keras models of a run or a bundle, and freeze them for the converters.

A frozen model has a fixed batch size, because a device always processes one eye or both eyes of a
face. With an unknown batch size, converters would add ops that compute the shapes. Every input and
output has a name.
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
    """Return the models that a bundle of this run contains. The keys are the names in the bundle.

    Raises:
        RunError: If the run has no trained redirector or no trained estimator.
    """
    return _exported_networks(load_exported(run))


def models_of_bundle(contract: Contract, files: Mapping[str, bytes]) -> dict[str, keras.Model]:
    """Rebuild the models of a bundle from its reference weights. The run is not needed.

    Args:
        contract: Contract of the bundle. The training config in the contract defines the networks.
        files: Contents of the bundle's files by name.

    Raises:
        BundleError: If there are no reference weights, or if the weights do not fit the config.
    """
    if not contract.references:
        raise BundleError(
            "the bundle has no reference weights; export it again to verify it",
            code="no-reference-weights",
        )
    try:
        models = _exported_networks(Networks(config_of(contract)))
        with TemporaryDirectory() as folder:
            for name, reference in contract.references.items():
                if name not in models:
                    raise BundleError(
                        f"the bundle has reference weights for an unknown model {name!r}; "
                        f"expected {', '.join(models)}",
                        code="reference-model-unknown",
                        model=name,
                    )
                weights = Path(folder) / f"{name}.npz"
                weights.write_bytes(files[reference.file])
                load_weights(models[name], weights)
    except RunError as error:
        raise BundleError(
            f"the bundle's Keras models cannot be rebuilt: {error}",
            code="reference-not-rebuilt",
            reason=str(error),
        ) from error
    return {name: models[name] for name in contract.references}


def config_of(contract: Contract) -> Config:
    """Return the config that a bundle's models were trained with.

    Raises:
        BundleError: If the bundle has no config, or if the config has an incompatible version.
    """
    try:
        return config_from_plain(contract.training.config)
    except ConfigError as error:
        raise BundleError(
            f"the bundle's training config cannot be read: {error}",
            code="training-config-unreadable",
            reason=str(error),
        ) from error


def outputs_of(
    model: keras.Model, inputs: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Return a dict of the outputs of a Keras model.

    Args:
        model: Keras model that is called in inference mode.
        inputs: Inputs by name. Each array has the shape [N, ...].
    """
    made = outputs_by_name(model, model(dict(inputs), training=False))
    return {name: np.asarray(value) for name, value in made.items()}


def outputs_by_name(model: keras.Model, made: Any) -> dict[str, Any]:
    """Return the outputs of a model as a dict. The keys are the names of the outputs.

    Args:
        model: Keras model.
        made: Result of a call of the model: one tensor, or a dict of tensors.
    """
    return made if isinstance(made, dict) else {model.output_names[0]: made}


def outputs_with_bias(model: keras.Model) -> tuple[str, ...]:
    """Return the names of the outputs that are linear dense layers with a bias.

    A change of such a bias changes the output by the same amount.
    """
    layers = (layer for layer in model.layers if layer.name in model.output_names)
    return tuple(
        layer.name
        for layer in layers
        if isinstance(layer, keras.layers.Dense)
        and layer.use_bias
        and layer.activation is keras.activations.linear
    )


def with_shifted_outputs(
    model: keras.Model, shifts: Mapping[str, NDArray[np.float32]]
) -> keras.Model:
    """Return a copy of a model that adds constants to some outputs.

    Args:
        model: Model to copy.
        shifts: Output -> numbers to add to the bias of its layer. `outputs_with_bias` returns the
            possible outputs.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name, shift in shifts.items():
        kernel, bias = copy.get_layer(name).get_weights()
        copy.get_layer(name).set_weights([kernel, bias + shift])
    return copy


def _exported_networks(networks: Networks) -> dict[str, keras.Model]:
    return {"redirector": networks.averaged.joined, "estimator": networks.estimator}


SIGNATURE = "serving_default"


@dataclass(frozen=True)
class FrozenModel:
    """TensorFlow function with fixed shapes, and the object that owns its variables.

    Attributes:
        function: Concrete function. The keyword arguments have the names of the model's inputs. The
            result is a dict of outputs.
        owner: Object that holds the variables. Converters require this object.
    """

    function: Any
    owner: tf.Module


def freeze(model: keras.Model, *, batch: int = 1) -> FrozenModel:
    """Trace a model in inference mode, and return the traced function.

    Args:
        model: Model with a dict of named inputs. The output of the model is one tensor or a dict.
        batch: Fixed batch size of the function.
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
    # The owner holds only the variables. If the owner held the model, the converter would also save
    # all functions of Keras. The conversion would then take several times as long, but the file
    # would be the same.
    owner.weights = list(model.weights)
    return FrozenModel(serve.get_concrete_function(**specs), owner)
