"""Represent batches as named tensors, and distribute the rows of a batch over devices.

A row of a batch is one pair of patches (images of one eye).

The content of a batch does not depend on the number of devices. Each device generates the random
numbers for all rows of the batch, but creates images only for its own rows. Two devices together
therefore process the same batch as one device alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mggr_edge.errors import ConfigError


@dataclass(frozen=True)
class Shares:
    """Defines how the pairs of every batch are distributed over the replicas (devices).

    A training step can update its discriminator several times. Such a step splits the batch into
    one part per update. Every replica receives the same number of pairs from each part.

    Attributes:
        batch: number of pairs in the whole batch.
        replicas: number of devices on all machines.
        first: number of the first replica that this process feeds.
        local: number of replicas that this process feeds.
        parts: number of parts of a batch, one part for each update of the discriminator.

    Raises:
        ConfigError: the parts of the batch cannot be divided equally among the replicas.
    """

    batch: int
    replicas: int = 1
    first: int = 0
    local: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        if self.batch % (self.parts * self.replicas):
            raise ConfigError(
                f"a batch of {self.batch // self.parts} pairs cannot be divided equally among "
                f"{self.replicas} devices; set `batch` to a multiple of {self.replicas}",
                code="batch-not-divisible",
                batch=self.batch // self.parts,
                devices=self.replicas,
            )

    @property
    def each(self) -> int:
        """The number of pairs per replica in every batch."""
        return self.batch // self.replicas

    def elements(self, steps: tuple[int, int]) -> tuple[int, int]:
        """Convert a range of steps [first, last) to a range of element numbers [first, last).

        An element consists of the rows of one batch for one replica. The numbers count only the
        elements of this process.
        """
        return steps[0] * self.local, steps[1] * self.local

    def step_of(self, element: tf.Tensor) -> tf.Tensor:
        """Return the number of the step that uses an element, as a scalar."""
        return element // self.local

    def rows_of(self, element: tf.Tensor) -> Rows:
        """Return the rows of the batch that belong to an element."""
        numbers = np.arange(self.batch, dtype=np.int32)
        dealt = numbers.reshape(self.parts, self.replicas, -1).transpose(1, 0, 2)
        mine = tf.constant(dealt.reshape(self.replicas, -1)[self.first : self.first + self.local])
        return Rows(self.batch, mine[element % self.local])


@dataclass(frozen=True)
class Rows:
    """A subset of the rows of a batch.

    Attributes:
        batch: number of rows in the whole batch.
        chosen: [B] int32, indices of the rows in the subset.
    """

    batch: int
    chosen: tf.Tensor

    @classmethod
    def all(cls, batch: int) -> Rows:
        """Return all rows of a batch."""
        return cls(batch, tf.range(batch))

    def uniform(
        self,
        shape: list[int],
        seed: tf.Tensor,
        *,
        low: float = 0.0,
        high: float = 1.0,
        before: tuple[int, ...] = (),
    ) -> tf.Tensor:
        """Generate [*before, B, *shape] float32 for these rows, uniform in [low, high)."""
        drawn = tf.random.stateless_uniform([*before, self.batch, *shape], seed, low, high)
        return tf.gather(drawn, self.chosen, axis=len(before))

    def signed(
        self, shape: list[int], seed: tf.Tensor, *, before: tuple[int, ...] = ()
    ) -> tf.Tensor:
        """Generate [*before, B, *shape] float32 for these rows, uniform in [-1, 1)."""
        return self.uniform(shape, seed, low=-1.0, high=1.0, before=before)

    def whole(self, shape: list[int], seed: tf.Tensor, *, low: int, high: int) -> tf.Tensor:
        """Generate [B, *shape] int32 for these rows, uniform in [low, high)."""
        drawn = tf.random.stateless_uniform([self.batch, *shape], seed, low, high, tf.int32)
        return tf.gather(drawn, self.chosen)

    def normal(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        """Generate [B, *shape] float32 for these rows, with a standard normal distribution."""
        drawn = tf.random.stateless_normal([self.batch, *shape], seed)
        return tf.gather(drawn, self.chosen)

    def noise(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        """Generate [B, *shape] float32 for these rows, with a standard normal distribution.

        Use this method for large shapes, for example images. Each row has its own seed. Therefore
        values are computed only for these rows.
        """
        seeds = tf.gather(tf.random.experimental.stateless_split(seed, self.batch), self.chosen)
        kind = tf.TensorSpec(shape, tf.float32)
        return tf.map_fn(
            lambda one: tf.random.stateless_normal(shape, one), seeds, fn_output_signature=kind
        )


Batch = Mapping[str, tf.Tensor]
"""The tensors of a batch by name (see `mggr_tf.data.pairs.pair_dataset`)."""

Metrics = dict[str, tf.Tensor]


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """Split a batch into `count` batches of equal size."""
    if count == 1:
        return [batch]
    cut = {name: tf.split(value, count) for name, value in batch.items()}
    return [{name: values[i] for name, values in cut.items()} for i in range(count)]
