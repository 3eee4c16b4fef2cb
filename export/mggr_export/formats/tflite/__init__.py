"""Implement the common format interface for TFLite files."""

from __future__ import annotations

from collections.abc import Callable

from tensorflow import keras

from mggr_edge.models.runtimes import FileRunner, open_file
from mggr_edge.models.runtimes.runner import Arrays
from mggr_export.formats.keras_models import freeze
from mggr_export.formats.model_format import Dissection, ModelFormat
from mggr_export.formats.tflite.convert import (
    convert_float16,
    convert_float32,
    convert_int8,
    dissect,
)
from mggr_export.formats.tflite.graph import check_structure, metadata_of, read_graph, with_metadata
from mggr_tf.config.conversion_limits import Precision


class TFLiteFormat(ModelFormat):
    """Format of TFLite files with builtin ops only. `ModelFormat` describes the methods."""

    title = "TFLite"
    suffix = "tflite"
    precisions = ("float32", "float16", "int8")

    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """Convert a model to float32."""
        return convert_float32(freeze(model, batch=batch))

    def float16(self, model: keras.Model, *, batch: int) -> bytes:
        """Convert to float16.

        An interpreter converts the weights to float32 when it loads the file.
        """
        return convert_float16(freeze(model, batch=batch))

    def int8(
        self,
        model: keras.Model,
        calibration: Arrays,
        *,
        batch: int,
        advance: Callable[[int], None],
    ) -> bytes:
        """Convert all ops except the tail (see `graph.Graph.tail`) to 8-bit integers."""
        return convert_int8(freeze(model, batch=batch), calibration, batch=batch, advance=advance)

    def dissect(self, model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
        """Calibrate again, and return the int8 file with its variants."""
        return dissect(model, calibration, batch=batch)

    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Check that the file obeys the rules in `tflite.graph`."""
        check_structure(read_graph(content), precision=precision)

    def open(self, content: bytes) -> FileRunner:
        """Open the file in the interpreter that a device would use."""
        return open_file(content, "tflite")

    def with_metadata(self, content: bytes, name: str, text: str) -> bytes:
        """Return the file content with one more named buffer."""
        return with_metadata(content, name, text)

    def metadata_of(self, content: bytes) -> dict[str, str]:
        """Return a dict of all named buffers: name -> text."""
        return metadata_of(content)
