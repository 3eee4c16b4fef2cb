"""Conversion to a SavedModel: TensorFlow's own words, the same weights."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf
from tensorflow import keras
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from mggr_export.freeze import SIGNATURE, freeze
from mggr_export.saved_model.archive import pack, read_from

GRAPH = "saved_model.pb"
_FINGERPRINT = "fingerprint.pb"


def convert_float32(model: keras.Model, *, batch: int = 1) -> bytes:
    """A zip of the SavedModel's folder, with one signature of fixed sizes."""
    frozen = freeze(model, batch=batch)
    with TemporaryDirectory() as name:
        tf.saved_model.save(frozen.owner, name, signatures={SIGNATURE: frozen.function})
        files = read_from(Path(name))
    # It holds a random number, and nobody needs it to load the rest.
    files.pop(_FINGERPRINT, None)
    files[GRAPH] = SavedModel.FromString(files[GRAPH]).SerializeToString(deterministic=True)
    return pack(files)
