"""Implement the common format interface for ONNX files."""

from __future__ import annotations

from collections.abc import Callable

from tensorflow import keras

from mggr_edge.models.runtimes import FileRunner, open_file
from mggr_edge.models.runtimes.runner import Arrays
from mggr_export.formats.model_format import Dissection, ModelFormat
from mggr_export.formats.onnx.convert import convert_float32, halve
from mggr_export.formats.onnx.graph import check_structure, metadata_of, with_metadata
from mggr_export.formats.onnx.quantise import dissect, quantise
from mggr_tf.config.conversion_limits import Precision


class OnnxFormat(ModelFormat):
    """Format of ONNX files, with a native op for the warp. `ModelFormat` describes the methods."""

    title = "ONNX"
    suffix = "onnx"
    precisions = ("float32", "float16", "int8")

    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """Convert a model to float32."""
        return convert_float32(model, batch=batch)

    def float16(self, model: keras.Model, *, batch: int) -> bytes:
        """Convert the weights, and the ops that use weights, to half precision."""
        return halve(convert_float32(model, batch=batch))

    def int8(
        self,
        model: keras.Model,
        calibration: Arrays,
        *,
        batch: int,
        advance: Callable[[int], None],
    ) -> bytes:
        """Convert to int8, with QuantizeLinear and DequantizeLinear before every convolution."""
        plain = convert_float32(model, batch=batch)
        return quantise(plain, calibration, batch=batch, advance=advance)

    def dissect(self, model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
        """Calibrate again, and return the int8 file with its variants."""
        return dissect(model, calibration, batch=batch)

    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Check that the file obeys the rules in `onnx.graph`."""
        check_structure(content, precision=precision)

    def open(self, content: bytes) -> FileRunner:
        """Open the file in ONNX Runtime."""
        return open_file(content, "onnx")

    def with_metadata(self, content: bytes, name: str, text: str) -> bytes:
        """Return the file content with one more metadata property."""
        return with_metadata(content, name, text)

    def metadata_of(self, content: bytes) -> dict[str, str]:
        """Return all metadata properties by name."""
        return metadata_of(content)
