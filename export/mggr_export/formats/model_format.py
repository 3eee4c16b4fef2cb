"""Common interface of all model file formats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.errors import ArtifactError
from mggr_edge.models.contract import RunnableFormat
from mggr_edge.models.runtimes import FileRunner
from mggr_edge.models.runtimes.runner import Arrays
from mggr_tf.config.conversion_limits import Precision


@dataclass(frozen=True)
class Dissection:
    """An int8 file, its float graph, and variants with one float layer.

    Attributes:
        quantised: Content of the int8 file.
        reference: Content of a float file with the same graph and the same names.
        layers: Names of the layers with weights, in order of execution.
        spared: Function that receives the name of a layer. The result is the content of the int8
            file with this layer in float.
        runner: Function that receives the content of a file. The result is the runner of the file.
        outputs: Function that receives the content of a file and the inputs of the model. The
            result is a dict: layer name -> dequantized output of this layer. Each array has the
            shape [N, ...].
    """

    quantised: bytes
    reference: bytes
    layers: tuple[str, ...]
    spared: Callable[[str], bytes]
    runner: Callable[[bytes], FileRunner]
    outputs: Callable[[bytes, Arrays], Mapping[str, NDArray[np.float32]]]


FileFormat = Literal[RunnableFormat, "saved_model"]
"""Format of a model file. Devices run all formats except `saved_model`."""


class ModelFormat(ABC):
    """Interface of one file format.

    Attributes:
        title: Name of the format that messages use.
        suffix: Suffix of the file names, without the leading dot.
        precisions: Precisions that the format supports. A conversion to another precision raises an
            error.
    """

    title: ClassVar[str]
    suffix: ClassVar[str]
    precisions: ClassVar[tuple[Precision, ...]]

    @abstractmethod
    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """Convert a model to float32, with a fixed batch size."""

    def float16(self, model: keras.Model, *, batch: int) -> bytes:
        """Convert a model to float16, that is, with weights in half precision.

        The warp (the part that moves pixels) and the clip of the pixel values stay float32.

        Raises:
            ArtifactError: If the format does not support float16.
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
        """Convert a model to int8, that is, with convolutions in 8-bit integers.

        Args:
            model: Keras model.
            calibration: Calibration inputs by name. Each array has the shape [N, ...].
            batch: Fixed batch size of the file.
            advance: Callback for the progress bar. It receives the number of calibration examples
                that were processed since the previous call.

        Raises:
            ArtifactError: If the format does not support int8.
        """
        raise self._unsupported("int8")

    def dissect(self, model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
        """Convert a model to int8, and to variants that show the accuracy loss of each layer.

        Args:
            model: Keras model.
            calibration: Calibration inputs by name. Each array has the shape [N, ...].
            batch: Fixed batch size of the file.

        Raises:
            ArtifactError: If the format does not support int8.
        """
        raise self._unsupported("int8")

    @abstractmethod
    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Check that the structure of a file matches its precision.

        Raises:
            ArtifactError: If the structure does not match. The message names the tensor or op.
        """

    @abstractmethod
    def open(self, content: bytes) -> FileRunner:
        """Load a file into its runtime.

        Raises:
            BundleError: If the content is not a model of this format.
        """

    @abstractmethod
    def with_metadata(self, content: bytes, name: str, text: str) -> bytes:
        """Return the file content with one more metadata entry.

        If the file has an entry of the same name, this entry is replaced.
        """

    @abstractmethod
    def metadata_of(self, content: bytes) -> dict[str, str]:
        """Return all metadata entries by name."""

    def _unsupported(self, precision: Precision) -> ArtifactError:
        known = ", ".join(self.precisions)
        return ArtifactError(
            f"{self.title} files support {known}, not {precision}",
            code="precision-not-supported",
            format=self.title,
            precision=precision,
            supported=known,
        )
