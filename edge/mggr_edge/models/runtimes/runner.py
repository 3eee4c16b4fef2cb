"""Define the `Runner` interface, check tensors, and split inputs into batches.

A runner is an object that runs one loaded model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import BundleError
from mggr_edge.models.contract import Artifact, TensorSpec

Kind = Literal["inputs", "outputs"]

Arrays = Mapping[str, NDArray[np.float32]]
"""Float inputs or outputs of a model by name. The shapes are [N, ...], for N examples."""


class Runner(Protocol):
    """A loaded model.

    A runner is called with a dict that maps the name of each input to its array. It returns a dict
    that maps the name of each output to its array. Arrays include the batch dimension. A model file
    has a fixed batch size, but `InBatches` accepts any number of examples. The caller owns the
    returned arrays.

    Threads: any thread may call a runner. Some runtimes cannot run two calls at the same time. If
    several threads call such a runner, the calls run one after another.
    """

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]: ...


@runtime_checkable
class Closeable(Protocol):
    """An object that holds memory until it is closed."""

    def close(self) -> None: ...


class FileRunner(Runner, Protocol):
    """A runner that was loaded from a model file, with the specs of the file's tensors."""

    def close(self) -> None:
        """Release the memory of the model; a running call ends first.

        Later calls of the runner raise ValueError. If `close` is called again, nothing happens.
        """
        ...

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Return the specs of the file's inputs or outputs, sorted by name."""
        ...


def close_runner(runner: Runner) -> None:
    """If a runner has a method `close`, call this method; otherwise do nothing."""
    if isinstance(runner, Closeable):
        runner.close()


def closed_model() -> ValueError:
    """Return the error for a call of a model that is closed."""
    return ValueError("the model is closed; open its bundle again")


def check_fits(runner: FileRunner, artifact: Artifact) -> None:
    """Check that the tensors of a model file match those in its contract.

    Raises:
        BundleError: the names, shapes or dtypes differ.
    """
    promises: tuple[tuple[Kind, tuple[TensorSpec, ...]], ...] = (
        ("inputs", artifact.inputs),
        ("outputs", artifact.outputs),
    )
    for kind, specs in promises:
        found = {s.name: (s.shape, s.dtype) for s in runner.tensor_specs(kind)}
        promised = {s.name: (s.shape, s.dtype) for s in specs}
        if found != promised:
            raise BundleError(
                f"{artifact.file}: contract.json declares the {kind} {promised}, the file has "
                f"{found}; export the bundle again",
                code="tensors-differ-from-contract",
                file=artifact.file,
                tensors=kind,
                expected=promised,
                found=found,
            )


def check_inputs(inputs: Mapping[str, NDArray], expected: Iterable[TensorSpec]) -> None:
    """Check that inputs match the specs of a model.

    Raises:
        ValueError: the names, shapes or dtypes differ.
    """
    specs = {spec.name: spec for spec in expected}
    if set(inputs) != set(specs):
        raise ValueError(f"expected inputs {sorted(specs)}, got {sorted(inputs)}")
    for name, value in inputs.items():
        spec = specs[name]
        if tuple(value.shape) != spec.shape or value.dtype != spec.dtype:
            raise ValueError(
                f"input {name}: expected {spec.shape} {spec.dtype}, got {value.shape} {value.dtype}"
            )


def batch_of(runner: FileRunner) -> int:
    """Return the batch size of a model file."""
    return runner.tensor_specs("inputs")[0].shape[0]


class InBatches:
    """A runner that accepts any number of examples and calls a runner with a fixed batch size.

    All inputs have the shape [N, ...], and N is at least 1. If the last batch is not full, its last
    example is repeated. The results of the repeated examples are dropped.

    Args:
        runner: the runner with a fixed batch size.
        batch: the batch size of `runner`.

    Attributes:
        runner: the runner with a fixed batch size.
    """

    def __init__(self, runner: Runner, batch: int) -> None:
        self.runner = runner
        self._batch = batch

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        count = len(next(iter(inputs.values())))
        if count == self._batch:
            return self.runner(inputs)
        made = [self.runner(part) for part in cut(inputs, self._batch)]
        return {name: np.concatenate([part[name] for part in made])[:count] for name in made[0]}

    def close(self) -> None:
        """Close the wrapped runner, whose batch size is fixed."""
        close_runner(self.runner)


def cut(inputs: Mapping[str, NDArray], batch: int) -> Iterator[dict[str, NDArray]]:
    """Yield the inputs [N, ...] in batches of a fixed size.

    If the last batch is not full, its last example is repeated.
    """
    count = len(next(iter(inputs.values())))
    for first in range(0, count, batch):
        chosen = np.minimum(np.arange(first, first + batch), count - 1)
        yield {name: value[chosen] for name, value in inputs.items()}
