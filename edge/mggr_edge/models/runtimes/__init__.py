"""Run model files on this machine with TFLite or ONNX Runtime, through one interface.

The functions choose a runtime for a model file among the installed runtimes.
"""

from __future__ import annotations

from collections.abc import Sequence

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.models.contract import Artifact, Format
from mggr_edge.models.runtimes import onnx, tflite
from mggr_edge.models.runtimes.runner import FileRunner, Runner, check_fits, close_runner
from mggr_edge.models.runtimes.tflite import TFLiteRunner, available_interpreters

__all__ = [
    "FileRunner",
    "Runner",
    "TFLiteRunner",
    "available_interpreters",
    "check_fits",
    "close_runner",
    "import_runtime",
    "open_file",
    "runnable",
    "runtimes",
]


def open_file(
    content: bytes, file_format: Format, *, num_threads: int = 1, runtime: str | None = None
) -> FileRunner:
    """Load a model file into a runtime for its format.

    Args:
        content: the bytes of the model file.
        file_format: the format of the file, as the contract specifies it.
        num_threads: the number of threads of the runtime.
        runtime: the name of a runtime from `runtimes(file_format)`. With `None`, the preferred
            runtime is used. The argument is ignored for ONNX files, because they have only one
            runtime.

    Raises:
        MissingPackageError: the given runtime is not installed, or no runtime is installed.
        BundleError: the bytes are not a model of that format, or no runtime for the format exists.
    """
    match file_format:
        case "tflite":
            return tflite.TFLiteRunner(content, num_threads=num_threads, interpreter=runtime)
        case "onnx":
            return onnx.OnnxRunner(content, num_threads=num_threads)
        case _:
            raise BundleError(
                f"models in the format {file_format} cannot be run, expected tflite or onnx",
                code="format-not-runnable",
                format=file_format,
            )


def runtimes(file_format: Format) -> dict[str, str]:
    """Return the installed runtimes for a format; the preferred runtime is first.

    Returns:
        A dict: distribution name -> version. If no runtime is installed, or if no runtime for the
        format exists, the dict is empty.
    """
    match file_format:
        case "tflite":
            return tflite.available_interpreters()
        case "onnx":
            return onnx.available_runtimes()
        case _:
            return {}


def import_runtime(file_format: Format, runtime: str) -> None:
    """Import the code of a runtime without loading a model.

    Raises:
        MissingPackageError: the runtime is not installed.
    """
    if file_format == "tflite":
        tflite.interpreter_class(runtime)
    elif file_format == "onnx":
        onnx.runtime_module()


def runnable(formats: Sequence[Artifact]) -> Artifact:
    """Return the first artifact of a model that this machine can run.

    Args:
        formats: the artifacts of one model in several formats, the preferred format first.

    Raises:
        MissingPackageError: this machine can run none of the artifacts.
    """
    for artifact in formats:
        if runtimes(artifact.format):
            return artifact
    if any(artifact.format == "tflite" for artifact in formats):
        raise MissingPackageError(tflite.WHAT, "edge")
    raise MissingPackageError(onnx.WHAT, "onnx")
