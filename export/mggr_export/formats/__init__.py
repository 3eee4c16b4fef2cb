"""Formats of model files: conversion, checks and metadata.

`model_format` returns the implementation of a format. `quiet_converter` hides the terminal output
of the converters.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import TextIO

from mggr_edge.errors import MggrError, MissingPackageError
from mggr_export.formats.model_format import FileFormat, ModelFormat

_ONNX_PACKAGES = {"onnx": "ONNX", "tf2onnx": "tf2onnx", "onnxruntime": "ONNX Runtime"}
_STDERR = 2


def model_format(name: FileFormat) -> ModelFormat:
    """Return the format with this name.

    The packages of a format are imported only when the format is requested.

    Raises:
        MissingPackageError: If a package of the format is not installed.
    """
    match name:
        case "tflite":
            from mggr_export.formats.tflite import TFLiteFormat

            return TFLiteFormat()
        case "onnx":
            for package, title in _ONNX_PACKAGES.items():
                if find_spec(package) is None:
                    raise MissingPackageError(title, "export")
            from mggr_export.formats.onnx import OnnxFormat

            return OnnxFormat()
        case "saved_model":
            from mggr_export.formats.saved_model import SavedModelFormat

            return SavedModelFormat()


@contextmanager
def quiet_converter() -> Iterator[None]:
    """Hide the stderr output of C++ code, and the warnings of packages.

    The output of this project's own code stays visible. TensorFlow's converter prints tables of ops
    to file descriptor 2, independent of the log level. If an exception other than a `MggrError`
    occurs, the hidden stderr output is printed.
    """
    level = logging.root.manager.disable
    sys.stderr.flush()
    real = os.dup(_STDERR)
    with TemporaryFile() as sink, os.fdopen(real, "w", buffering=1) as shown:
        os.dup2(sink.fileno(), _STDERR)
        logging.disable(logging.WARNING)
        try:
            with redirect_stderr(shown) if _writes_to_descriptor(sys.stderr) else nullcontext():
                yield
        except MggrError:
            raise
        except Exception:
            sink.seek(0)
            shown.write(sink.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(real, _STDERR)
            logging.disable(level)


def _writes_to_descriptor(stream: TextIO) -> bool:
    """Return whether a stream writes to file descriptor 2.

    The result is False if a test or a notebook has replaced stderr.
    """
    try:
        return stream.fileno() == _STDERR
    except (io.UnsupportedOperation, AttributeError):
        return False
