"""ONNX models on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module, metadata, util
from typing import Any

from numpy.typing import NDArray

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.models.contract import TensorSpec
from mggr_edge.models.runtimes.runner import Kind, check_inputs, closed_model

WHAT = "ONNX Runtime"

_PACKAGE = "onnxruntime"
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")

_ERRORS_ONLY = 3
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


def available_runtimes() -> dict[str, str]:
    """ONNX Runtime, if it is installed: distribution name -> version; does not import it."""
    if util.find_spec(_PACKAGE) is None:
        return {}
    for name in _DISTRIBUTIONS:
        try:
            return {name: metadata.version(name)}
        except metadata.PackageNotFoundError:
            continue
    return {_PACKAGE: "of unknown version"}


def runtime_module() -> Any:
    """ONNX Runtime itself.

    Raises:
        MissingPackageError: it is not installed.
    """
    if not available_runtimes():
        raise MissingPackageError(WHAT, "onnx")
    return import_module(_PACKAGE)


class OnnxRunner:
    """An ONNX model behind the `Runner` seam, on the processor.

    ONNX Runtime allows several threads to run one session at the same time.

    Args:
        content: the file's bytes.
        num_threads: that one operation is spread over; one, as for TFLite.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
        BundleError: the bytes are no model that it can load.
    """

    def __init__(self, content: bytes, *, num_threads: int = 1) -> None:
        runtime = runtime_module()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        # Its errors have a common base only in C++; in Python each is a class of its own.
        except Exception as error:
            raise BundleError(f"not an ONNX model that can be loaded: {_line(error)}") from error
        self._inputs = _specs(self._session.get_inputs())
        self._outputs = _specs(self._session.get_outputs())

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        check_inputs(inputs, self._inputs)
        names = [spec.name for spec in self._outputs]
        session = self._session  # A call that is running keeps it alive through `close`.
        if session is None:
            raise closed_model()
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def close(self) -> None:
        """Releases the session; see `FileRunner.close`."""
        self._session = None

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Specs of the file's own inputs or outputs, in alphabetical order."""
        return self._inputs if kind == "inputs" else self._outputs


def _specs(arguments: Any) -> tuple[TensorSpec, ...]:
    # An open size has a name, or none, in place of a number; no artifact of ours has one.
    return tuple(
        TensorSpec(
            name=one.name,
            shape=tuple(size if isinstance(size, int) else -1 for size in one.shape),
            dtype=_DTYPES.get(one.type, one.type),
        )
        for one in sorted(arguments, key=lambda one: str(one.name))
    )


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
