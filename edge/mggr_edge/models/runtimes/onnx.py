"""Run ONNX models with ONNX Runtime."""

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
    """Return the distribution name and version of the installed ONNX Runtime.

    The package is not imported. If ONNX Runtime is not installed, the result is empty.
    """
    if util.find_spec(_PACKAGE) is None:
        return {}
    for name in _DISTRIBUTIONS:
        try:
            return {name: metadata.version(name)}
        except metadata.PackageNotFoundError:
            continue
    return {_PACKAGE: "of unknown version"}


def runtime_module() -> Any:
    """Import ONNX Runtime and return its module.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
    """
    if not available_runtimes():
        raise MissingPackageError(WHAT, "onnx")
    return import_module(_PACKAGE)


class OnnxRunner:
    """A `Runner` that runs an ONNX model on the CPU.

    ONNX Runtime allows several threads to run one session at the same time.

    Args:
        content: the bytes of the model file.
        num_threads: the number of threads that one operation may use. The default is one thread,
            as for TFLite.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
        BundleError: ONNX Runtime cannot load the bytes as a model.
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
        # In C++, the errors of ONNX Runtime have a common base class. In Python, they are unrelated
        # classes.
        except Exception as error:
            reason = _line(error)
            raise BundleError(
                f"ONNX Runtime cannot load the model: {reason}",
                code="onnx-model-not-loadable",
                reason=reason,
            ) from error
        self._inputs = _specs(self._session.get_inputs())
        self._outputs = _specs(self._session.get_outputs())

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        check_inputs(inputs, self._inputs)
        names = [spec.name for spec in self._outputs]
        session = self._session  # keeps the session alive if another thread calls `close`
        if session is None:
            raise closed_model()
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def close(self) -> None:
        """Release the session; see `FileRunner.close`."""
        self._session = None

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Return the specs of the model's inputs or outputs, sorted by name."""
        return self._inputs if kind == "inputs" else self._outputs


def _specs(arguments: Any) -> tuple[TensorSpec, ...]:
    # For a dynamic dimension, ONNX Runtime returns a name or `None` instead of a number. The
    # model files of this project have no dynamic dimensions.
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
