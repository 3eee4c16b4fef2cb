"""SavedModels behind the seam that proofs run models through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.errors import BundleError
from mggr_edge.models.contract import TensorSpec
from mggr_edge.models.runtimes.runner import Kind, check_inputs, closed_model
from mggr_export.freeze import SIGNATURE
from mggr_export.saved_model.archive import unpack, write_into


class SavedModelRunner:
    """A zipped SavedModel in TensorFlow.

    Args:
        content: the file's bytes.

    Raises:
        BundleError: no SavedModel of ours.
    """

    def __init__(self, content: bytes) -> None:
        files = unpack(content)
        with TemporaryDirectory() as name:
            write_into(Path(name), files)
            try:
                self._model = tf.saved_model.load(name)
            except (OSError, ValueError, tf.errors.OpError) as error:
                raise BundleError(f"no SavedModel: {error}") from error
        if SIGNATURE not in self._model.signatures:
            raise BundleError(f"no SavedModel of ours: it has no signature {SIGNATURE}")
        self._function = self._model.signatures[SIGNATURE]
        self._inputs = _specs(self._function.structured_input_signature[1])
        self._outputs = _specs(self._function.structured_outputs)

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        check_inputs(inputs, self._inputs)
        function = self._function
        if function is None:
            raise closed_model()
        made = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in made.items()}

    def close(self) -> None:
        """Releases the model."""
        self._model = self._function = None

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Specs of the signature's inputs or outputs, in alphabetical order."""
        return self._inputs if kind == "inputs" else self._outputs


def _specs(named: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=tuple(spec.shape), dtype=spec.dtype.name)
        for name, spec in sorted(named.items())
    )
