"""TFLite files in the interpreter that is installed.

ai-edge-litert before tflite-runtime (measured up to ten times faster on int8
depthwise layers), and TensorFlow's own nowhere: the device has none.

The runtimes write to file descriptor 2 from C++, once per process, and have no Python interface to
their log level: "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." Warnings and errors are
passed on.
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
"""What another thread's write may still take that began before the end."""


@contextmanager
def without_information() -> Iterator[None]:
    """Holds back what is written to standard error, and passes it on without such messages.

    Other threads may write meanwhile: their lines are passed on at the end, in order. The buffer is
    in memory, so that nothing depends on a writable folder. Where the system has no such buffer, or
    no standard error is open, nothing is held back.
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
    """A file in memory that every write is appended to, wherever others read or write."""
    import fcntl

    buffer = os.memfd_create("stderr")
    fcntl.fcntl(buffer, fcntl.F_SETFL, os.O_APPEND)
    return buffer


def _pass_on(buffer: int) -> None:
    try:
        read = 0
        for wait_s in (0.0, _LATE_S):
            time.sleep(wait_s)
            # Not from the file's own position, which writes to a copy of it move.
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
    """Installed interpreters, best first: distribution name -> version."""
    return {
        name: metadata.version(name)
        for name, module in _INTERPRETERS.items()
        if util.find_spec(module.split(".")[0]) is not None
    }


class TFLiteRunner:
    """A TFLite model behind the `Runner` seam.

    An interpreter runs one call at a time, so a lock makes simultaneous calls take turns.
    Interpreters of the same `content` share its bytes.

    Models with a signature are called by its names; models without one (the
    landmark models) by their tensors' names.

    Args:
        content: the file's bytes.
        num_threads: threads of the interpreter; one, because two eyes of one
            frame are better run side by side than each on all cores.
        interpreter: one of `available_interpreters`; None takes the best.

    Raises:
        MissingPackageError: no interpreter is installed.
        BundleError: the bytes are no model that this interpreter can load.
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
            raise BundleError(f"not a TFLite model that can be loaded: {error}") from error
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
        """Releases the interpreter; see `FileRunner.close`."""
        with self._lock:
            self._interpreter = None

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Specs of the file's own inputs or outputs, in alphabetical order."""
        details = self._inputs if kind == "inputs" else self._outputs
        return tuple(_spec(name, details[name]) for name in sorted(details))

    def _details(self, kind: str) -> dict[str, dict[str, Any]]:
        """Tensors by the names of the file's signature, or by their own.

        A signature is only read, not run: its runner allocates everything anew in each call,
        a millisecond of six.
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
    """The class `Interpreter` of an installed distribution; None takes the best.

    Raises:
        MissingPackageError: none is installed, or not that one.
    """
    installed = available_interpreters()
    if not installed or (name is not None and name not in installed):
        raise MissingPackageError(WHAT if name is None else name, "edge")
    module = importlib.import_module(_INTERPRETERS[name or next(iter(installed))])
    return module.Interpreter


_SCHEMA = "ai_edge_litert.schema_py_generated"
_IDENTIFIER = b"TFL3"


def can_be_parted() -> bool:
    """Whether this machine has what reads a model's graph; tflite-runtime has not."""
    return util.find_spec(_SCHEMA.split(".", maxsplit=1)[0]) is not None and bool(
        util.find_spec(_SCHEMA)
    )


def part_of(content: bytes, outputs: Collection[str]) -> bytes:
    """Leaves out of a model all that some outputs do not need; its inputs stay.

    Args:
        content: a model with a signature.
        outputs: names of the signature's outputs that are kept.

    Returns:
        a model that computes the same values for them.

    Raises:
        ImportError: `can_be_parted` is false.
        ValueError: the model has no signature, or one without these outputs.
    """
    schema, flatbuffers = import_module(_SCHEMA), import_module("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    if not model.signatureDefs:
        raise ValueError("the model has no signature")
    signature = model.signatureDefs[0]
    kept = [one for one in signature.outputs if one.name.decode() in outputs]
    if len(kept) != len(set(outputs)):
        raise ValueError(f"the model has not all of the outputs {', '.join(sorted(outputs))}")
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
    """Keeps those that lead to the outputs; returns the tensors that they read and write."""
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
