"""What a model file says of itself when it is met outside its bundle."""

from __future__ import annotations

import json
from typing import Any

from mggr_edge.contract import RunnableFormat
from mggr_edge.strict import plain
from mggr_edge.version import __version__
from mggr_tf.training.run_folder import RunFolder

LABEL = "mggr"
"""Name of the entry among a file's metadata."""


def label_of(run: RunFolder, model: str) -> str:
    """JSON: which model it is, what a pixel and an angle are, and what its licence allows."""
    facts = {
        "model": model,
        "mggr-tf": __version__,
        "conventions": plain(run.config.conventions),
        "licence": run.record.data.licence,
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=False)


def labelled(content: bytes, file_format: RunnableFormat, label: str) -> bytes:
    """The same file with a label among its metadata."""
    match file_format:
        case "tflite":
            from mggr_export.tflite.metadata import with_metadata as into_tflite

            return into_tflite(content, LABEL, label)
        case "onnx":
            from mggr_export.onnx.metadata import with_metadata as into_onnx

            return into_onnx(content, LABEL, label)


def read_label(content: bytes, file_format: RunnableFormat) -> dict[str, Any]:
    """What a file says of itself; empty where it has no label."""
    match file_format:
        case "tflite":
            from mggr_export.tflite.metadata import metadata_of as of_tflite

            found = of_tflite(content)
        case "onnx":
            from mggr_export.onnx.metadata import metadata_of as of_onnx

            found = of_onnx(content)
    return dict(json.loads(found[LABEL])) if LABEL in found else {}
