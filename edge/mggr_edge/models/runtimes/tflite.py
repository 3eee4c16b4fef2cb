"""Run TFLite models with the installed interpreter, and reduce a model to some of its outputs.

ai-edge-litert is preferred to tflite-runtime. In measurements, ai-edge-litert was up to ten times
faster on int8 depthwise layers. The interpreter of TensorFlow is not used, because a device has no
TensorFlow.

Both runtimes write the line "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." once per
process. They write the line in C++ to file descriptor 2, and their Python interfaces cannot change
the log level. This module removes these lines and keeps warnings and errors.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module, metadata, util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.models.contract import TensorSpec
from mggr_edge.models.runtimes.runner import Kind, check_inputs, closed_model

_STDERR = 2
_INFORMATION = re.compile(rb"INFO: .*(TensorFlow Lite|TfLite|LiteRT|XNNPACK|delegate)", re.DOTALL)
_one_at_a_time = threading.Lock()
_LATE_S = 0.001
"""Time in seconds to wait until writes of other threads to the buffer are complete.

These writes began before standard error was restored.
"""


@contextmanager
def without_information() -> Iterator[None]:
    """Buffer standard error; at the end, write the buffer without the INFO lines of the runtimes.

    Lines that other threads write during this time are also written at the end, in the order in
    which they were written. The buffer is in memory, so no writable folder is needed. If standard
    error is closed, or if the system does not support buffers in memory, standard error is not
    changed.
    """
    with _one_at_a_time:
        try:
            real, buffer = os.dup(_STDERR), _buffer()
        except (AttributeError, ImportError, OSError):
            yield
            return
        _flush()
        os.dup2(buffer, _STDERR)
        try:
            yield
        finally:
            _flush()
            os.dup2(real, _STDERR)
            os.close(real)
            _pass_on(buffer)


def _buffer() -> int:
    """Return a file in memory; each write appends to the end of the file."""
    import fcntl

    buffer = os.memfd_create("stderr")
    fcntl.fcntl(buffer, fcntl.F_SETFL, os.O_APPEND)
    return buffer


def _pass_on(buffer: int) -> None:
    try:
        read = 0
        for wait_s in (0.0, _LATE_S):
            time.sleep(wait_s)
            # Read at an explicit offset. File descriptor 2 is a duplicate of this descriptor, so
            # writes to it move the shared file position.
            while held := os.pread(buffer, 1 << 20, read):
                read += len(held)
                for line in held.splitlines(keepends=True):
                    if not _INFORMATION.match(line):
                        os.write(_STDERR, line)
    finally:
        os.close(buffer)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


WHAT = "A TFLite interpreter (ai-edge-litert or tflite-runtime)"

_INTERPRETERS = {  # distribution name -> module with `Interpreter`, in order of preference
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


def available_interpreters() -> dict[str, str]:
    """Return the installed interpreters as a dict: distribution name -> version.

    The preferred interpreter is first.
    """
    return {
        name: _version(name)
        for name, module in _INTERPRETERS.items()
        if util.find_spec(module.split(".")[0]) is not None
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # Installed by other means than a Python package.
        return "of unknown version"


class TFLiteRunner:
    """A `Runner` that runs a TFLite model.

    An interpreter cannot run two calls at the same time. A lock makes the second call wait.
    Several interpreters of the same `content` share the bytes of `content`.

    Inputs and outputs have the names in the model's signature. The landmark models have no
    signature, so the names of their tensors are used.

    Args:
        content: the bytes of the model file.
        num_threads: the number of threads of the interpreter. The default is one thread, because
            the two eyes of a frame can run in parallel. This parallel execution is faster than to
            run the eyes one after the other on all cores.
        interpreter: the name of an interpreter from `available_interpreters`. With `None`,
            the preferred interpreter is used.

    Raises:
        MissingPackageError: the given interpreter is not installed, or no interpreter is installed.
        BundleError: the interpreter cannot load the bytes as a model.
    """

    def __init__(
        self, content: bytes, *, num_threads: int = 1, interpreter: str | None = None
    ) -> None:
        of_runtime = interpreter_class(interpreter)
        try:
            with without_information():
                self._interpreter = of_runtime(model_content=content, num_threads=num_threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleError(
                f"the TFLite interpreter cannot load the model: {error}",
                code="tflite-model-not-loadable",
                reason=str(error),
            ) from error
        self._inputs = self._details("input")
        self._outputs = self._details("output")
        self._input_specs = self.tensor_specs("inputs")
        self._lock = threading.Lock()

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        check_inputs(inputs, self._input_specs)
        with self._lock:
            if self._interpreter is None:
                raise closed_model()
            for name, details in self._inputs.items():
                self._interpreter.set_tensor(details["index"], inputs[name])
            self._interpreter.invoke()
            return {
                name: self._interpreter.get_tensor(details["index"])
                for name, details in self._outputs.items()
            }

    def close(self) -> None:
        """Release the interpreter; see `FileRunner.close`."""
        with self._lock:
            self._interpreter = None

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Return the specs of the model's inputs or outputs, sorted by name."""
        details = self._inputs if kind == "inputs" else self._outputs
        return tuple(_spec(name, details[name]) for name in sorted(details))

    def _details(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the details of the inputs or outputs by name.

        The names are those in the file's signature. If the file has no signature, the names of the
        tensors are used. Calls do not use the signature's runner, because it allocates all tensors
        again in each call. The allocation would take one of the six milliseconds of a call.
        """
        signatures = self._interpreter.get_signature_list()
        if signatures:
            signature = self._interpreter.get_signature_runner(next(iter(signatures)))
            return dict(getattr(signature, f"get_{kind}_details")())
        return {d["name"]: d for d in getattr(self._interpreter, f"get_{kind}_details")()}


def _spec(name: str, details: dict[str, Any]) -> TensorSpec:
    quantisation = details["quantization_parameters"]
    quantised = len(quantisation["scales"]) == 1
    return TensorSpec(
        name=name,
        shape=tuple(int(n) for n in details["shape"]),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(quantisation["scales"][0]) if quantised else None,
        zero_point=int(quantisation["zero_points"][0]) if quantised else None,
    )


def interpreter_class(name: str | None = None) -> Any:
    """Return the class `Interpreter` of an installed distribution.

    Args:
        name: the name of the distribution. With `None`, the preferred distribution is used.

    Raises:
        MissingPackageError: the given distribution is not installed, or no distribution is
            installed.
    """
    installed = available_interpreters()
    if not installed or (name is not None and name not in installed):
        raise MissingPackageError(WHAT if name is None else name, "edge")
    module = importlib.import_module(_INTERPRETERS[name or next(iter(installed))])
    return module.Interpreter


_SCHEMA = "ai_edge_litert.schema_py_generated"
_IDENTIFIER = b"TFL3"


def can_be_parted() -> bool:
    """Return whether the TFLite schema is installed, which `part_of` needs.

    ai-edge-litert contains the schema, but tflite-runtime does not.
    """
    return util.find_spec(_SCHEMA.split(".", maxsplit=1)[0]) is not None and bool(
        util.find_spec(_SCHEMA)
    )


def part_of(content: bytes, outputs: Collection[str]) -> bytes:
    """Return the part of a model that computes the given outputs.

    Operators and weights that these outputs do not need are removed. All inputs are kept.

    Args:
        content: the bytes of a model with a signature.
        outputs: the names of the outputs to keep, as in the signature.

    Returns:
        The bytes of a model that computes the same values for these outputs.

    Raises:
        ImportError: the TFLite schema is not installed; see `can_be_parted`.
        ValueError: the model has no signature, or at least one output is not in its signature.
    """
    schema, flatbuffers = import_module(_SCHEMA), import_module("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    if not model.signatureDefs:
        raise ValueError("the model has no signature")
    signature = model.signatureDefs[0]
    kept = [one for one in signature.outputs if one.name.decode() in outputs]
    if len(kept) != len(set(outputs)):
        raise ValueError(
            f"the model lacks at least one of the outputs {', '.join(sorted(outputs))}"
        )
    signature.outputs = kept
    graph = model.subgraphs[signature.subgraphIndex]
    graph.outputs = [one.tensorIndex for one in kept]
    used = _leave_out_operators(graph)
    used_buffers = {graph.tensors[index].buffer for index in used}
    for index, tensor in enumerate(graph.tensors):
        if index not in used and tensor.buffer not in used_buffers:
            model.buffers[tensor.buffer].data = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _leave_out_operators(graph: Any) -> set[int]:
    """Remove all operators that the outputs of a graph do not need.

    Returns:
        The indices of two groups of tensors: the inputs and outputs of the graph, and all tensors
        that the remaining operators read or write.
    """
    used = {int(index) for index in (*graph.inputs, *graph.outputs)}
    wanted = {int(index) for index in graph.outputs}
    kept = []
    for operator in reversed(graph.operators):
        if wanted.isdisjoint(map(int, operator.outputs)):
            continue
        kept.append(operator)
        wanted.update(int(index) for index in operator.inputs if index >= 0)
        used.update(map(int, operator.outputs))
    graph.operators = kept[::-1]
    return used | wanted
