"""What can be done with a model file, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.models.contract import RunnableFormat
from mggr_edge.models.runtimes import FileRunner
from mggr_export.arrays import Arrays
from mggr_export.errors import ArtifactError
from mggr_tf.config.conversion_limits import Precision


@dataclass(frozen=True)
class Dissection:
    """An int8 file, its float twin, and variants of it.

    Attributes:
        quantised: the file.
        reference: the same graph, still float, with the same names.
        layers: names of the layers that multiply by weights, in order.
        spared: the file again with one layer left float, by that layer's name.
        runner: opens a file.
        outputs: what every layer gives in a file, [N, ...] and dequantised, by its name.
    """

    quantised: bytes
    reference: bytes
    layers: tuple[str, ...]
    spared: Callable[[str], bytes]
    runner: Callable[[bytes], FileRunner]
    outputs: Callable[[bytes, Arrays], Mapping[str, NDArray[np.float32]]]


FileFormat = Literal[RunnableFormat, "saved_model"]
"""What a model is written in. Devices run all but the last."""


class ModelFormat(ABC):
    """One format.

    Attributes:
        title: its name in messages.
        suffix: of its files' names.
        precisions: that it can be written in. The methods of other precisions raise.
    """

    title: ClassVar[str]
    suffix: ClassVar[str]
    precisions: ClassVar[tuple[Precision, ...]]

    @abstractmethod
    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """Converts a model without any loss, for so many examples at once."""

    def float16(self, model: keras.Model, *, batch: int) -> bytes:
        """Converts a model with its weights in half precision; warp and clip stay float32.

        Raises:
            ArtifactError: the format has no such files.
        """
        raise self._unsupported("float16")

    def int8(
        self,
        model: keras.Model,
        calibration: Arrays,
        *,
        batch: int,
        advance: Callable[[int], None],
    ) -> bytes:
        """Converts a model with its convolutions in 8-bit integers.

        Args:
            model: in Keras.
            calibration: [N, ...] of every input by name.
            batch: how many examples the file takes at once.
            advance: called for every calibration example.

        Raises:
            ArtifactError: the format has no such files.
        """
        raise self._unsupported("int8")

    def dissect(self, model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
        """Converts a model to int8, in a form that shows what each layer loses.

        Args:
            model: in Keras.
            calibration: [N, ...] of every input by name.
            batch: how many examples the file takes at once.

        Raises:
            ArtifactError: the format has no int8 files.
        """
        raise self._unsupported("int8")

    @abstractmethod
    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Refuses a file that is not what its precision promises.

        Raises:
            ArtifactError: with the tensor or op that is wrong.
        """

    @abstractmethod
    def open(self, content: bytes) -> FileRunner:
        """Loads a file into its runtime.

        Raises:
            BundleError: the bytes are no model of this format.
        """

    @abstractmethod
    def with_metadata(self, content: bytes, name: str, text: str) -> bytes:
        """Returns the file with one more note; one of that name is replaced."""

    @abstractmethod
    def metadata_of(self, content: bytes) -> dict[str, str]:
        """Returns all notes by name."""

    def _unsupported(self, precision: Precision) -> ArtifactError:
        known = ", ".join(self.precisions)
        return ArtifactError(f"{self.title} files are {known}, not {precision}")
