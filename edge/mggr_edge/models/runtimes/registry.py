"""Which runtime a file asks for, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Sequence

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.models.contract import Artifact, Format
from mggr_edge.models.runtimes import onnx, tflite
from mggr_edge.models.runtimes.runner import FileRunner


def open_file(
    content: bytes, file_format: Format, *, num_threads: int = 1, runtime: str | None = None
) -> FileRunner:
    """Loads a model file into a runtime of its format.

    Args:
        content: the file's bytes.
        file_format: as the contract says.
        num_threads: of the runtime.
        runtime: one of `runtimes(file_format)`; None takes the best.

    Raises:
        MissingPackageError: no runtime is installed.
        BundleError: the bytes are no model of that format, or the format cannot be run.
    """
    match file_format:
        case "tflite":
            return tflite.TFLiteRunner(content, num_threads=num_threads, interpreter=runtime)
        case "onnx":
            return onnx.OnnxRunner(content, num_threads=num_threads)
        case _:
            raise BundleError(f"{file_format} is no format that can be run")


def runtimes(file_format: Format) -> dict[str, str]:
    """What can run files of a format here, best first: distribution name -> version."""
    match file_format:
        case "tflite":
            return tflite.available_interpreters()
        case "onnx":
            return onnx.available_runtimes()
        case _:
            return {}


def import_runtime(file_format: Format, runtime: str) -> None:
    """Loads a runtime's code, and no model."""
    if file_format == "tflite":
        tflite.interpreter_class(runtime)
    elif file_format == "onnx":
        onnx.runtime_module()


def runnable(formats: Sequence[Artifact]) -> Artifact:
    """Of one model in several formats, the first that this machine can run.

    Raises:
        MissingPackageError: it can run none of them.
    """
    for artifact in formats:
        if runtimes(artifact.format):
            return artifact
    if any(artifact.format == "tflite" for artifact in formats):
        raise MissingPackageError(tflite.WHAT, "edge")
    raise MissingPackageError(onnx.WHAT, "onnx")
