"""SavedModel format: writer and runner of zipped SavedModel folders."""

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
from mggr_edge.errors import ArtifactError, BundleError
from mggr_edge.models.contract import TensorSpec
from mggr_edge.models.runtimes import FileRunner
from mggr_edge.models.runtimes.runner import Kind, check_inputs, closed_model
from mggr_export.formats.keras_models import SIGNATURE, freeze
from mggr_export.formats.model_format import ModelFormat
from mggr_tf.config.conversion_limits import Precision

_GRAPH = "saved_model.pb"
_FINGERPRINT = "fingerprint.pb"
_NOTES = "assets.extra/"
"""Folder of a SavedModel that is reserved for the user's own files."""
_NO_TIME = (1980, 1, 1, 0, 0, 0)
"""Earliest time that a zip file can store.

Every entry has this time, so the bytes of the file do not depend on the current time.
"""


class SavedModelFormat(ModelFormat):
    """Format of zipped SavedModels, in float32 only. `ModelFormat` describes the methods."""

    title = "SavedModel"
    suffix = "saved_model.zip"
    precisions = ("float32",)

    def float32(self, model: keras.Model, *, batch: int) -> bytes:
        """Convert a model to a zipped SavedModel folder with one signature of fixed sizes."""
        frozen = freeze(model, batch=batch)
        with TemporaryDirectory() as name:
            tf.saved_model.save(frozen.owner, name, signatures={SIGNATURE: frozen.function})
            files = _read_from(Path(name))
        # The fingerprint contains a random number. A SavedModel can be loaded without the
        # fingerprint.
        files.pop(_FINGERPRINT, None)
        graph = SavedModel.FromString(files[_GRAPH])
        files[_GRAPH] = graph.SerializeToString(deterministic=True)
        return pack(files)

    def check_structure(self, content: bytes, precision: Precision) -> None:
        """Check that the zip contains a graph, and that the precision is float32.

        Raises:
            ArtifactError: If there is no graph, or if the precision is not float32.
        """
        if precision not in self.precisions:
            raise self._unsupported(precision)
        if _GRAPH not in unpack(content):
            raise ArtifactError(
                f"the zipped SavedModel has no file {_GRAPH}",
                code="saved-model-without-graph",
                file=_GRAPH,
            )

    def open(self, content: bytes) -> FileRunner:
        """Open the file in TensorFlow."""
        return SavedModelRunner(content)

    def with_metadata(self, content: bytes, name: str, text: str) -> bytes:
        """Return the zip with one more file in the folder for the user's own files."""
        return pack({**unpack(content), f"{_NOTES}{name}": text.encode()})

    def metadata_of(self, content: bytes) -> dict[str, str]:
        """Return a dict of the files in the folder for the user's own files: name -> text."""
        return {
            path.removeprefix(_NOTES): noted.decode()
            for path, noted in unpack(content).items()
            if path.startswith(_NOTES)
        }


class SavedModelRunner:
    """Runner that executes a zipped SavedModel in TensorFlow.

    Args:
        content: Content of the zip file.

    Raises:
        BundleError: If this package did not write the content as a SavedModel.
    """

    def __init__(self, content: bytes) -> None:
        files = unpack(content)
        with TemporaryDirectory() as name:
            _write_into(Path(name), files)
            try:
                self._model = tf.saved_model.load(name)
            except (OSError, ValueError, tf.errors.OpError) as error:
                raise BundleError(
                    f"invalid SavedModel: {error}", code="saved-model-invalid", reason=str(error)
                ) from error
        if SIGNATURE not in self._model.signatures:
            raise BundleError(
                f"the SavedModel has no signature {SIGNATURE}; only files of `mggr-tf export` are "
                "supported",
                code="saved-model-without-signature",
                signature=SIGNATURE,
            )
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
        """Release the model."""
        self._model = self._function = None

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Return the specs of the signature's inputs or outputs, sorted by name."""
        return self._inputs if kind == "inputs" else self._outputs


def pack(files: Mapping[str, bytes]) -> bytes:
    """Pack files into a zip. The keys of `files` are POSIX paths.

    The result does not depend on the current time or on the order of the files.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, bytes]:
    """Return a dict of the files in a zip: POSIX path -> content.

    Raises:
        BundleError: If the content is not a zip, or if an unpacked file is larger than declared.
            Also raised if the sum of all declared sizes is larger than allowed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            total, most = sum(one.file_size for one in entries), MOST_UNPACKED * len(content)
            if total > most:
                raise BundleError(
                    f"the files in the SavedModel have {total:,} bytes, expected at most {most:,}",
                    code="saved-model-too-large",
                    declared=total,
                    most=most,
                )
            return {one.filename: _content(archive, one) for one in entries}
    except UNREADABLE_ZIP as error:
        raise BundleError(
            f"invalid zip file of a SavedModel: {error}",
            code="saved-model-zip-invalid",
            reason=str(error),
        ) from error


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with open_entry(archive, entry) as file:
        return read_declared(file, entry.file_size, name=entry.filename)


def _write_into(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files below a folder.

    Raises:
        BundleError: If a path points outside the folder.
    """
    for name, content in files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BundleError(
                f"the zipped SavedModel contains a path outside its folder: {name!r}",
                code="saved-model-path-outside",
                name=name,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _read_from(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder. The keys are relative POSIX paths."""
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
