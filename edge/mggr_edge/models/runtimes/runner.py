"""The runner of a model file, and batches of its fixed size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import BundleError
from mggr_edge.models.contract import Artifact, TensorSpec

Kind = Literal["inputs", "outputs"]


class Runner(Protocol):
    """A model, ready to run.

    Called with every input by name; returns every output by name. Arrays carry
    the batch dimension, which a file fixes (see `batching`); the returned ones
    belong to the caller.

    Threads: any thread may call a runner. Simultaneous calls of one runner take turns.
    """

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]: ...


@runtime_checkable
class Closeable(Protocol):
    """An object that holds memory until it is closed."""

    def close(self) -> None: ...


class FileRunner(Runner, Protocol):
    """A runner that was loaded from a file, and knows what stands in it."""

    def close(self) -> None:
        """Releases the model's memory, after a call that is running; harmless when repeated.

        Later calls of the runner raise ValueError.
        """
        ...

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Specs of the file's own inputs or outputs, in alphabetical order."""
        ...


def close_runner(runner: Runner) -> None:
    """Closes a runner that holds memory; others, such as functions, need no closing."""
    if isinstance(runner, Closeable):
        runner.close()


def closed_model() -> ValueError:
    """The error of a call after `close()`."""
    return ValueError("the model is closed; open its bundle again")


def check_fits(runner: FileRunner, artifact: Artifact) -> None:
    """Refuses a file whose tensors are not those of its contract.

    Raises:
        BundleError: names, shapes or dtypes differ.
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
                f"{artifact.file}: the contract promises {kind} {promised}, the file has {found}"
            )


def check_inputs(inputs: Mapping[str, NDArray], expected: Iterable[TensorSpec]) -> None:
    """Refuses inputs that a model does not take.

    Raises:
        ValueError: names, shapes or dtypes differ.
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
    """How many examples a file takes at once."""
    return runner.tensor_specs("inputs")[0].shape[0]


class InBatches:
    """A runner of fixed batch as one that takes [N, ...] of every input, N at least 1.

    What is left over in the last batch is filled up with its last example, and dropped again.

    Args:
        runner: takes `batch` examples at once.
        batch: how many that are.

    Attributes:
        runner: the runner of fixed batch.
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
        """Closes the runner of fixed batch."""
        close_runner(self.runner)


def cut(inputs: Mapping[str, NDArray], batch: int) -> Iterator[dict[str, NDArray]]:
    """Inputs [N, ...] in batches of one size, the last one filled up with its last example."""
    count = len(next(iter(inputs.values())))
    for first in range(0, count, batch):
        chosen = np.minimum(np.arange(first, first + batch), count - 1)
        yield {name: value[chosen] for name, value in inputs.items()}
