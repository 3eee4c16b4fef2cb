"""Which runtime a file asks for, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Sequence

from mggr_edge.contract import Artifact, Format
from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.interpreters import onnx, tflite
from mggr_edge.interpreters.runner import FileRunner


def open_file(content: bytes, file_format: Format, *, num_threads: int = 1) -> FileRunner:
    """Loads a model file into the runtime of its format.

    Args:
        content: the file's bytes.
        file_format: as the contract says.
        num_threads: of the runtime.

    Raises:
        MissingPackageError: the runtime is not installed.
        BundleError: the bytes are no model of that format, or the format cannot be run.
    """
    match file_format:
        case "tflite":
            return tflite.TFLiteRunner(content, num_threads=num_threads)
        case "onnx":
            return onnx.OnnxRunner(content, num_threads=num_threads)
        case _:
            raise BundleError(f"{file_format} is no format that can be run")


def runnable(formats: Sequence[Artifact]) -> Artifact:
    """Of one model in several formats, the first that this machine can run.

    Raises:
        MissingPackageError: it can run none of them.
    """
    here = {"tflite": bool(tflite.available_interpreters()), "onnx": onnx.is_available()}
    for artifact in formats:
        if here.get(artifact.format, False):
            return artifact
    if any(artifact.format == "tflite" for artifact in formats):
        raise MissingPackageError(tflite.WHAT, "edge")
    raise MissingPackageError(onnx.WHAT, "onnx")
