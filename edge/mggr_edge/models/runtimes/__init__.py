"""Run model files on this machine with TFLite or ONNX Runtime, through one interface."""

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
