"""What can be done with a model file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal, Protocol

from tensorflow import keras

from mggr_edge.errors import MissingPackageError
from mggr_edge.models.contract import RunnableFormat
from mggr_edge.models.runtimes import FileRunner
from mggr_export.arrays import Arrays
from mggr_tf.config.conversion_limits import Precision

FileFormat = Literal[RunnableFormat, "saved_model"]
"""What a model is written in. Devices run all but the last."""

_ONNX_PACKAGES = {"onnx": "ONNX", "tf2onnx": "tf2onnx", "onnxruntime": "ONNX Runtime"}


class ModelFormat(Protocol):
    """One format.

    Attributes:
        suffix: of its files' names.
        precisions: that it can be written in.
    """

    suffix: str
    precisions: tuple[Precision, ...]

    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """Converts a model without any loss, for so many examples at once."""
        ...

    def float16(self, model: keras.Model, *, batch: int) -> bytes:
        """Converts a model with its weights in half precision; warp and clip stay float32."""
        ...

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
            batch: how many examples the file shall take at once.
            advance: called for every calibration example.
        """
        ...

    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Refuses a file that is not what its precision promises.

        Raises:
            ArtifactError: with the tensor or op that is wrong.
        """
        ...

    def open(self, content: bytes) -> FileRunner:
        """Loads a file into its runtime.

        Raises:
            BundleError: the bytes are no model of this format.
        """
        ...

    def with_metadata(self, content: bytes, name: str, text: str) -> bytes:
        """The file with one more note; one of that name is replaced."""
        ...

    def metadata_of(self, content: bytes) -> dict[str, str]:
        """All notes by name."""
        ...


def model_format(name: FileFormat) -> ModelFormat:
    """The format of that name; what it needs is imported now, and not before.

    Raises:
        MissingPackageError: something that it needs is not installed.
    """
    match name:
        case "tflite":
            from mggr_export.tflite.tflite_format import TFLiteFormat

            return TFLiteFormat()
        case "onnx":
            for package, title in _ONNX_PACKAGES.items():
                if find_spec(package) is None:
                    raise MissingPackageError(title, "export")
            from mggr_export.onnx.onnx_format import OnnxFormat

            return OnnxFormat()
        case "saved_model":
            from mggr_export.saved_model.saved_model_format import SavedModelFormat

            return SavedModelFormat()
