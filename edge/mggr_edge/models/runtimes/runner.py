"""What every backend offers: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, runtime_checkable

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
