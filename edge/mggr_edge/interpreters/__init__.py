"""The seam between a model file and whatever runs it on this machine."""

from mggr_edge.interpreters.runner import Runner
from mggr_edge.interpreters.tflite import TFLiteRunner, available_interpreters

__all__ = ["Runner", "TFLiteRunner", "available_interpreters"]
