"""SavedModels behind the seam that all formats share."""

from __future__ import annotations

from collections.abc import Callable

from tensorflow import keras

from mggr_edge.models.runtimes import FileRunner
from mggr_export.arrays import Arrays
from mggr_export.errors import ArtifactError
from mggr_export.saved_model.archive import pack, unpack
from mggr_export.saved_model.convert import GRAPH, convert_float32
from mggr_export.saved_model.runner import SavedModelRunner
from mggr_tf.config.conversion_limits import Precision

_NOTES = "assets.extra/"
"""Where a SavedModel keeps what is its user's own."""


class SavedModelFormat:
    """Zipped SavedModels, float32 alone; see `formats.ModelFormat`."""

    suffix = "saved_model.zip"
    precisions: tuple[Precision, ...] = ("float32",)

    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """The same weights in TensorFlow's own words."""
        return convert_float32(model, batch=batch)

    def float16(self, model: keras.Model, *, batch: int) -> bytes:
        """Not to be had.

        Raises:
            ArtifactError: always.
        """
        raise ArtifactError("a SavedModel is float32")

    def int8(
        self,
        model: keras.Model,
        calibration: Arrays,
        *,
        batch: int,
        advance: Callable[[int], None],
    ) -> bytes:
        """Not to be had.

        Raises:
            ArtifactError: always.
        """
        raise ArtifactError("a SavedModel is float32")

    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Whether there is a graph in the zip, and nobody claims more than float32.

        Raises:
            ArtifactError: there is none, or somebody does.
        """
        if precision != "float32":
            raise ArtifactError(f"a SavedModel is float32, not {precision}")
        if GRAPH not in unpack(content):
            raise ArtifactError(f"the zip holds no {GRAPH}")

    def open(self, content: bytes) -> FileRunner:
        """In TensorFlow."""
        return SavedModelRunner(content)

    def with_metadata(self, content: bytes, name: str, text: str) -> bytes:
        """A file more among the user's own."""
        return pack({**unpack(content), f"{_NOTES}{name}": text.encode()})

    def metadata_of(self, content: bytes) -> dict[str, str]:
        """The user's own files."""
        return {
            path.removeprefix(_NOTES): noted.decode()
            for path, noted in unpack(content).items()
            if path.startswith(_NOTES)
        }
