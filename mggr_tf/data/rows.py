"""Batches as tensors by name, and which rows of a batch a device makes.

A batch is drawn as a whole, whatever number of devices shares it: each draws the random numbers of
all of its pairs, which are few, and makes the pictures of its own. So two devices see what one
would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mggr_edge.errors import ConfigError


@dataclass(frozen=True)
class Shares:
    """How the pairs of every batch are dealt to replicas.

    A step that updates its discriminator several times cuts the batch into as many parts; every
    replica has an equal share of each part.

    Attributes:
        batch: pairs in the whole batch.
        replicas: how many devices there are, on all machines.
        first: number of the first one that this process feeds.
        local: how many it feeds.
        parts: into how many parts a step cuts its batch.

    Raises:
        ConfigError: the parts of the batch cannot be shared equally.
    """

    batch: int
    replicas: int = 1
    first: int = 0
    local: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        if self.batch % (self.parts * self.replicas):
            raise ConfigError(
                f"a batch of {self.batch // self.parts} pairs cannot be shared by "
                f"{self.replicas} devices; make `batch` a multiple of {self.replicas}"
            )

    @property
    def each(self) -> int:
        """Pairs that one replica sees of every batch."""
        return self.batch // self.replicas

    def elements(self, steps: tuple[int, int]) -> tuple[int, int]:
        """Range of the numbers of the elements that make up steps [first, last) here."""
        return steps[0] * self.local, steps[1] * self.local

    def step_of(self, element: tf.Tensor) -> tf.Tensor:
        """[] The step that an element belongs to."""
        return element // self.local

    def rows_of(self, element: tf.Tensor) -> Rows:
        """The rows of the batch that an element holds."""
        numbers = np.arange(self.batch, dtype=np.int32)
        dealt = numbers.reshape(self.parts, self.replicas, -1).transpose(1, 0, 2)
        mine = tf.constant(dealt.reshape(self.replicas, -1)[self.first : self.first + self.local])
        return Rows(self.batch, mine[element % self.local])


@dataclass(frozen=True)
class Rows:
    """Some rows of a batch.

    Attributes:
        batch: how many rows the whole batch has.
        chosen: [B] int32, which of them.
    """

    batch: int
    chosen: tf.Tensor

    @classmethod
    def all(cls, batch: int) -> Rows:
        """Every row."""
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
        """[*before, B, *shape] float32 in [low, high): these rows of what the batch draws."""
        drawn = tf.random.stateless_uniform([*before, self.batch, *shape], seed, low, high)
        return tf.gather(drawn, self.chosen, axis=len(before))

    def signed(
        self, shape: list[int], seed: tf.Tensor, *, before: tuple[int, ...] = ()
    ) -> tf.Tensor:
        """[*before, B, *shape] float32 in [-1, 1)."""
        return self.uniform(shape, seed, low=-1.0, high=1.0, before=before)

    def whole(self, shape: list[int], seed: tf.Tensor, *, low: int, high: int) -> tf.Tensor:
        """[B, *shape] int32 in [low, high)."""
        drawn = tf.random.stateless_uniform([self.batch, *shape], seed, low, high, tf.int32)
        return tf.gather(drawn, self.chosen)

    def normal(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        """[B, *shape] float32, mean 0, deviation 1."""
        drawn = tf.random.stateless_normal([self.batch, *shape], seed)
        return tf.gather(drawn, self.chosen)

    def noise(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        """As `normal`, for pictures: each row has a seed, so that only these rows are drawn."""
        seeds = tf.gather(tf.random.experimental.stateless_split(seed, self.batch), self.chosen)
        kind = tf.TensorSpec(shape, tf.float32)
        return tf.map_fn(
            lambda one: tf.random.stateless_normal(shape, one), seeds, fn_output_signature=kind
        )


Batch = Mapping[str, tf.Tensor]
"""Tensors of a batch by name (see `mggr_tf.data.pairs.pair_dataset`)."""

Metrics = dict[str, tf.Tensor]


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """A batch cut into as many of equal size."""
    if count == 1:
        return [batch]
    cut = {name: tf.split(value, count) for name, value in batch.items()}
    return [{name: values[i] for name, values in cut.items()} for i in range(count)]
