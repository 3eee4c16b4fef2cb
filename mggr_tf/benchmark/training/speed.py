"""What was found about the speed of training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_tf.benchmark.training.convolutions import Convolution
from mggr_tf.benchmark.training.trace import Trace

_SPREAD = (10, 50, 90)
"""Percentiles over rounds; the middle one is the figure."""


@dataclass(frozen=True)
class Spread:
    """A figure that was taken in many rounds.

    Attributes:
        low, median, high: its 10th percentile, median and 90th.
        mean: of all rounds together. What comes once in many rounds (data that is read in
            large pieces) shows here alone; so does whatever else the machine does.
    """

    low: float
    median: float
    high: float
    mean: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        """Of [rounds]."""
        return cls(*_percentiles(values), mean=float(np.mean(values)))

    @classmethod
    def of_ratio(cls, over: NDArray[np.float64], under: NDArray[np.float64]) -> Spread:
        """Of two contestants' [rounds], divided round by round; the mean is of their sums."""
        return cls(*_percentiles(over / under), mean=float(np.sum(over) / np.sum(under)))


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, median, high = np.percentile(values, _SPREAD)
    return float(low), float(median), float(high)


@dataclass(frozen=True)
class Took:
    """Milliseconds a step, [rounds] each; what is in one row was done right after another.

    Attributes:
        batches: to make a batch, with nothing else to do.
        one_batch: a step, again and again on one batch that is there.
        its_batches: a step as training takes it, each on a batch of its own.
        bare: the convolutions of a step, alone in a graph.
    """

    batches: NDArray[np.float64]
    one_batch: NDArray[np.float64]
    its_batches: NDArray[np.float64]
    bare: NDArray[np.float64]


@dataclass(frozen=True)
class TrainingSpeed:
    """How fast a stage trains here.

    Attributes:
        config, stage: what was timed.
        data: where the pairs came from.
        features_precision: what frozen feature networks computed in.
        pairs: in a step.
        cores: of this machine.
        took: by all contestants.
        convolutions: that a step executes.
        matrix_products: how many it executes besides.
        step, bare: how they are executed.
    """

    config: str
    stage: str
    data: str
    features_precision: str
    pairs: int
    cores: int
    took: Took
    convolutions: tuple[Convolution, ...]
    matrix_products: int
    step: Trace
    bare: Trace

    @property
    def real_over_synthetic(self) -> Spread:
        """Rate of steps on their own batches over that on one batch."""
        return Spread.of_ratio(self.took.one_batch, self.took.its_batches)

    @property
    def step_over_bare(self) -> Spread:
        """Rate of steps on one batch over that of their bare convolutions."""
        return Spread.of_ratio(self.took.bare, self.took.one_batch)

    @property
    def mmac(self) -> float:
        """Million multiply-accumulates of a step's convolutions."""
        return sum(convolution.mmac for convolution in self.convolutions)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON's types, each convolution and each op too."""
        ms = {name: Spread.of(values) for name, values in vars(self.took).items()}
        return {
            "config": self.config,
            "stage": self.stage,
            "data": self.data,
            "features_precision": self.features_precision,
            "pairs_a_step": self.pairs,
            "cores": self.cores,
            "rounds": len(self.took.one_batch),
            "ms": {name: asdict(spread) for name, spread in ms.items()},
            "pairs_per_second": {k: 1000 * self.pairs / v.median for k, v in ms.items()},
            "real_over_synthetic": asdict(self.real_over_synthetic),
            "step_over_bare": asdict(self.step_over_bare),
            "mmac": self.mmac,
            "matrix_products": self.matrix_products,
            "convolutions": [{**asdict(c), "mmac": c.mmac} for c in self.convolutions],
            "step": asdict(self.step),
        }
