"""SavedModels: the folder as one zip file, its runner, and the format."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from mggr_edge.common.bounded_zip import MOST_UNPACKED, UNREADABLE_ZIP, open_entry, read_declared
from mggr_edge.errors import BundleError
from mggr_edge.models.contract import TensorSpec
from mggr_edge.models.runtimes import FileRunner
from mggr_edge.models.runtimes.runner import Kind, check_inputs, closed_model
from mggr_export.errors import ArtifactError
from mggr_export.formats.keras_models import SIGNATURE, freeze
from mggr_export.formats.model_format import ModelFormat
from mggr_tf.config.conversion_limits import Precision

_GRAPH = "saved_model.pb"
_FINGERPRINT = "fingerprint.pb"
_NOTES = "assets.extra/"
"""The folder of a SavedModel that is left to its user."""
_NO_TIME = (1980, 1, 1, 0, 0, 0)
"""The first that a zip can say; the same for every entry."""


class SavedModelFormat(ModelFormat):
    """Zipped SavedModels, float32 alone; see `ModelFormat`."""

    title = "SavedModel"
    suffix = "saved_model.zip"
    precisions = ("float32",)

    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """A zip of the SavedModel's folder, with one signature of fixed sizes."""
        frozen = freeze(model, batch=batch)
        with TemporaryDirectory() as name:
            tf.saved_model.save(frozen.owner, name, signatures={SIGNATURE: frozen.function})
            files = _read_from(Path(name))
        # It holds a random number, and nobody needs it to load the rest.
        files.pop(_FINGERPRINT, None)
        graph = SavedModel.FromString(files[_GRAPH])
        files[_GRAPH] = graph.SerializeToString(deterministic=True)
        return pack(files)

    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Refuses a zip without a graph, and other precisions than float32.

        Raises:
            ArtifactError: no graph, or another precision.
        """
        if precision not in self.precisions:
            raise self._unsupported(precision)
        if _GRAPH not in unpack(content):
            raise ArtifactError(f"the zip holds no {_GRAPH}")

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
            _write_into(Path(name), files)
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


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files by their posix paths as a zip without clock or order of its own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, bytes]:
    """Files by their posix paths.

    Raises:
        BundleError: no zip, or one that inflates beyond what it declares or may.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            total, most = sum(one.file_size for one in entries), MOST_UNPACKED * len(content)
            if total > most:
                raise BundleError(
                    f"no zipped SavedModel: it declares {total:,} bytes, expected at most {most:,}"
                )
            return {one.filename: _content(archive, one) for one in entries}
    except UNREADABLE_ZIP as error:
        raise BundleError(f"no zipped SavedModel: {error}") from error


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with open_entry(archive, entry) as file:
        return read_declared(file, entry.file_size, name=entry.filename)


def _write_into(folder: Path, files: Mapping[str, bytes]) -> None:
    """Lays the files out below a folder.

    Raises:
        BundleError: a path that would leave it.
    """
    for name, content in files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BundleError(f"no zipped SavedModel: it holds a path {name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _read_from(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _specs(named: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=tuple(spec.shape), dtype=spec.dtype.name)
        for name, spec in sorted(named.items())
    )
