"""From Keras to a file: which converter a format and a precision ask for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from tensorflow import keras

from mggr_edge.contract import RunnableFormat
from mggr_edge.errors import MissingPackageError
from mggr_export.calibration import Arrays
from mggr_export.freeze import freeze

_ONNX_PACKAGES = {"onnx": "ONNX", "tf2onnx": "tf2onnx", "onnxruntime": "ONNX Runtime"}


def check_converter(file_format: RunnableFormat) -> None:
    """Refuses a format whose packages are not installed, before any work is done.

    Raises:
        MissingPackageError: one is not.
    """
    if file_format == "onnx":
        for package, title in _ONNX_PACKAGES.items():
            if find_spec(package) is None:
                raise MissingPackageError(title, "export")


def convert_float32(model: keras.Model, file_format: RunnableFormat, *, batch: int = 1) -> bytes:
    """Converts a model without any loss, for so many examples at once."""
    match file_format:
        case "tflite":
            from mggr_export.tflite.convert import convert_float32 as to_tflite

            return to_tflite(freeze(model, batch=batch))
        case "onnx":
            from mggr_export.onnx.convert import convert_float32 as to_onnx

            return to_onnx(model, batch=batch)


def convert_float16(model: keras.Model, file_format: RunnableFormat, *, batch: int = 1) -> bytes:
    """Converts a model with its weights in half precision; warp and clip stay float32."""
    match file_format:
        case "tflite":
            from mggr_export.tflite.convert import convert_float16 as to_tflite

            return to_tflite(freeze(model, batch=batch))
        case "onnx":
            from mggr_export.onnx.convert import convert_float32 as to_onnx
            from mggr_export.onnx.halve import halve

            return halve(to_onnx(model, batch=batch))


def convert_int8(
    model: keras.Model,
    file_format: RunnableFormat,
    calibration: Arrays,
    *,
    batch: int = 1,
    advance: Callable[[int], None],
) -> bytes:
    """Converts a model with its convolutions in 8-bit integers.

    Args:
        model: in Keras.
        file_format: of the file.
        calibration: [N, ...] of every input by name.
        batch: how many examples the file shall take at once.
        advance: called for every calibration example.
    """
    match file_format:
        case "tflite":
            from mggr_export.tflite.convert import convert_int8 as to_tflite

            return to_tflite(freeze(model, batch=batch), calibration, batch=batch, advance=advance)
        case "onnx":
            from mggr_export.onnx.convert import convert_float32 as to_onnx
            from mggr_export.onnx.quantise import quantise

            return quantise(to_onnx(model, batch=batch), calibration, batch=batch, advance=advance)
