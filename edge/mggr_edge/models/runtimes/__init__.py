"""Run model files on this machine with TFLite, ONNX Runtime or OpenCV, through one interface.

The functions choose a runtime for a model file among the installed runtimes.
"""

from __future__ import annotations

from collections.abc import Sequence

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.models.contract import Artifact, Format
from mggr_edge.models.installed import LANDMARK_MODEL_FILES
from mggr_edge.models.runtimes import onnx, opencv, tflite
from mggr_edge.models.runtimes.runner import FileRunner, Runner, check_fits, close_runner
from mggr_edge.models.runtimes.tflite import TFLiteRunner, available_interpreters

__all__ = [
    "FileRunner",
    "Runner",
    "TFLiteRunner",
    "all_runtimes",
    "available_interpreters",
    "check_fits",
    "close_runner",
    "import_runtime",
    "open_artifact",
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


def open_artifact(
    artifact: Artifact, content: bytes, *, num_threads: int = 1, runtime: str | None = None
) -> FileRunner:
    """Load the file of an artifact into one of its runtimes.

    Args:
        artifact: format and tensors of the file.
        content: the bytes of the file.
        num_threads: the number of threads of the runtime. OpenCV ignores it.
        runtime: the name of a runtime from `runtimes`. With `None`, the preferred runtime for the
            format is used, or OpenCV if there is no other runtime.

    Raises:
        MissingPackageError: the given runtime is not installed, or no runtime is installed.
        BundleError: the bytes are not a model of that format, or no runtime for the format exists.
    """
    if runtime is None and not _without_opencv(artifact.format) and opencv.available():
        runtime = opencv.NAME
    if runtime == opencv.NAME:
        if not opencv.available():
            raise MissingPackageError(opencv.WHAT, "edge")
        return opencv.OpenCVRunner(
            content, artifact.format, inputs=artifact.inputs, outputs=artifact.outputs
        )
    return open_file(content, artifact.format, num_threads=num_threads, runtime=runtime)


def _without_opencv(file_format: Format) -> dict[str, str]:
    """Return the runtimes for a format, except OpenCV."""
    match file_format:
        case "tflite":
            return tflite.available_interpreters()
        case "onnx":
            return onnx.available_runtimes()
        case _:
            return {}


def runtimes(file_format: Format, *, model: str) -> dict[str, str]:
    """Return the installed runtimes for a model file; the preferred runtime is first.

    The order follows measurements on two x86-64 cores (`mggr-edge bench default`, LiteRT 2.3, ONNX
    Runtime 1.32, OpenCV 5.0). LiteRT was at least as fast as ONNX Runtime. OpenCV took 1.8 to 3.4
    times as long as LiteRT for the packaged networks. It took four to six times as long for the
    face models, because it runs a TFLite model once per output.

    Args:
        file_format: the format of the file.
        model: name of the model. OpenCV runs all ONNX files, but only the TFLite files of the face
            models.

    Returns:
        A dict: name of the runtime -> version. If no runtime is installed, or if no runtime for the
        format exists, the dict is empty.
    """
    others = _without_opencv(file_format)
    is_for_opencv = file_format == "onnx" or (
        file_format == "tflite" and model in LANDMARK_MODEL_FILES
    )
    return others | opencv.available() if is_for_opencv else others


def all_runtimes() -> dict[str, str]:
    """Return all installed runtimes as a dict: name -> version."""
    return _without_opencv("tflite") | _without_opencv("onnx") | opencv.available()


def import_runtime(file_format: Format, runtime: str) -> None:
    """Import the code of a runtime without loading a model.

    Raises:
        MissingPackageError: the runtime is not installed.
    """
    if runtime == opencv.NAME:
        return  # This module imports OpenCV.
    if file_format == "tflite":
        tflite.interpreter_class(runtime)
    elif file_format == "onnx":
        onnx.runtime_module()


def runnable(formats: Sequence[Artifact], *, model: str) -> Artifact:
    """Return the artifact of a model that this machine should run.

    This is the first artifact for which a runtime other than OpenCV is installed. If there is none,
    this is the first artifact that OpenCV can run.

    Args:
        formats: the artifacts of one model in several formats, the preferred format first.
        model: name of the model.

    Raises:
        MissingPackageError: this machine can run none of the artifacts.
    """
    for artifact in formats:
        if _without_opencv(artifact.format):
            return artifact
    for artifact in formats:
        if runtimes(artifact.format, model=model):
            return artifact
    if any(artifact.format == "tflite" for artifact in formats):
        raise MissingPackageError(tflite.WHAT, "edge")
    raise MissingPackageError(onnx.WHAT, "onnx")
