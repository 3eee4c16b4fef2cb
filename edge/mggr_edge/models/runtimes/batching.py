"""Any number of examples through a model whose file has a batch of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.runtimes.runner import FileRunner, Runner, close_runner


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
