"""Interface to the runtimes that run model files on this machine: TFLite and ONNX Runtime."""

from mggr_edge.models.runtimes.registry import import_runtime, open_file, runnable, runtimes
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
