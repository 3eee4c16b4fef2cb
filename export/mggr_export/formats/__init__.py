"""Formats of model files: conversion, checks and metadata."""

from __future__ import annotations

from importlib.util import find_spec

from mggr_edge.errors import MissingPackageError
from mggr_export.formats.model_format import FileFormat, ModelFormat

_ONNX_PACKAGES = {"onnx": "ONNX", "tf2onnx": "tf2onnx", "onnxruntime": "ONNX Runtime"}


def model_format(name: FileFormat) -> ModelFormat:
    """Return the format with this name.

    The packages of a format are imported only when the format is requested.

    Raises:
        MissingPackageError: If a package of the format is not installed.
    """
    match name:
        case "tflite":
            from mggr_export.formats.tflite.tflite_format import TFLiteFormat

            return TFLiteFormat()
        case "onnx":
            for package, title in _ONNX_PACKAGES.items():
                if find_spec(package) is None:
                    raise MissingPackageError(title, "export")
            from mggr_export.formats.onnx.onnx_format import OnnxFormat

            return OnnxFormat()
        case "saved_model":
            from mggr_export.formats.saved_model import SavedModelFormat

            return SavedModelFormat()
