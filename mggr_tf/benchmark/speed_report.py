"""Store the results of a training speed measurement, and format them as text.

In each round, four durations are measured directly after each other. The first duration is that of
making a batch. The other durations are those of a step on a repeated batch, of a step on a new
batch, and of only the convolutions of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_tf.benchmark.convolutions import (
    DIRECTIONS,
    Convolution,
    OpTime,
    Trace,
    is_convolution,
    kind_of,
    part_of,
)

_SPREAD = (10, 50, 90)
"""Percentiles over rounds: the lower bound, the reported value, and the upper bound."""


@dataclass(frozen=True)
class Spread:
    """Distribution of a value that was measured in many rounds.

    Attributes:
        low: 10th percentile.
        median: median.
        high: 90th percentile.
        mean: mean over all rounds. A rare event, such as reading a large block of data, affects the
            mean but not the median. Other programs on the machine affect the mean, too.
    """

    low: float
    median: float
    high: float
    mean: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        """Return the distribution of values, which have the shape [rounds]."""
        return cls(*_percentiles(values), mean=float(np.mean(values)))

    @classmethod
    def of_ratio(cls, over: NDArray[np.float64], under: NDArray[np.float64]) -> Spread:
        """Return the distribution of the ratio `over / under`.

        Both arrays have the shape [rounds]. A ratio is computed for each round.

        The `mean` of the result is the ratio of the sums.
        """
        return cls(*_percentiles(over / under), mean=float(np.sum(over) / np.sum(under)))


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, median, high = np.percentile(values, _SPREAD)
    return float(low), float(median), float(high)


@dataclass(frozen=True)
class Took:
    """Measured times in milliseconds per step. Each array has the shape [rounds].

    The four values of one round were measured directly after each other.

    Attributes:
        batches: time to make a batch, without training.
        one_batch: time of a step that always uses the same batch in memory.
        its_batches: time of a step that uses a new batch each time, as in training.
        bare: time of the convolutions of a step, executed without the other ops of the step.
    """

    batches: NDArray[np.float64]
    one_batch: NDArray[np.float64]
    its_batches: NDArray[np.float64]
    bare: NDArray[np.float64]


@dataclass(frozen=True)
class TrainingSpeed:
    """Training speed of a stage on this machine.

    Attributes:
        config: name of the config.
        stage: name of the stage.
        data: folder of the data, or `synthetic`.
        features_precision: dtype in which frozen feature networks compute.
        pairs: number of pairs per step.
        cores: number of CPU cores of this machine.
        took: measured times.
        convolutions: convolutions that a step executes.
        matrix_products: number of matrix products that a step executes.
        step: profile of a step.
        bare: profile of the convolutions alone.
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
        """Rate of steps on new batches, divided by the rate of steps on the same batch."""
        return Spread.of_ratio(self.took.one_batch, self.took.its_batches)

    @property
    def step_over_bare(self) -> Spread:
        """Rate of steps on the same batch, divided by the rate of their convolutions alone."""
        return Spread.of_ratio(self.took.bare, self.took.one_batch)

    @property
    def mmac(self) -> float:
        """Number of multiply-accumulates of the convolutions of a step, in millions."""
        return sum(convolution.mmac for convolution in self.convolutions)

    def as_json(self) -> dict[str, Any]:
        """Return all results as JSON types, including every convolution and every op."""
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


_RATE = "{:<30} {:>9} {:>17} {:>9}"
_RATIO = "{:<41} {:>7} {:>17} {:>9}"
_CONVOLUTIONS = "{:<22}" + " {:>5} {:>9}" * len(DIRECTIONS)
_SHARE = "{:<36} {:>6} {:>9} {:>7}"
_OP = "{:>9}  {:<32} {}"
_SLOWEST = 12

_NAMES = {
    "batches": "batches alone",
    "one_batch": "step, on one batch",
    "its_batches": "step, on its batches",
    "bare": "its convolutions alone",
}


def speed_text(speed: TrainingSpeed) -> str:
    """Format the rates, the ratios, and a table of the convolutions as text."""
    return "\n".join(
        [
            f"{speed.config}, stage {speed.stage}, data {speed.data}: {speed.pairs} pairs a step, "
            f"{speed.cores} cores, feature networks in {speed.features_precision}",
            "",
            *_rates(speed),
            "",
            *_ratios(speed),
            "",
            *_table_of_convolutions(speed),
        ]
    )


def profile_text(speed: TrainingSpeed) -> str:
    """Format the profile of a step as text.

    The text contains the time for each kind of op, the time for each part of the network, and the
    slowest ops.
    """
    step = speed.step
    others = [op for op in step.ops if not is_convolution(op.op)]
    slowest = sorted(others, key=lambda op: -op.ms)[:_SLOWEST]
    return "\n".join(
        [
            f"a step on one batch takes {step.call_ms:.1f} ms under the profiler; summed over "
            f"threads, its {len(step.ops)} ops take {_sum(step.ops):.1f} ms, and the overhead "
            f"between the ops is {step.executor_ms - _sum(step.ops):.1f} ms",
            "",
            *_shares("kind of op", step.ops, kind_of),
            "",
            *_shares("part of the network", step.ops, lambda op: part_of(op.name)),
            "",
            *_shares("part, without convolutions", others, lambda op: part_of(op.name)),
            "",
            "slowest ops except convolutions",
            *(_OP.format(f"{op.ms:.2f} ms", op.op, op.name) for op in slowest),
        ]
    )


def _rates(speed: TrainingSpeed) -> Iterator[str]:
    yield _RATE.format("", "ms", "10 to 90 %", "pairs/s")
    for name, values in vars(speed.took).items():
        ms = Spread.of(values)
        rate = 1000 * speed.pairs / ms.median
        between = f"{ms.low:.1f} to {ms.high:.1f}"
        yield _RATE.format(_NAMES[name], f"{ms.median:.2f}", between, f"{rate:.0f}")


def _ratios(speed: TrainingSpeed) -> Iterator[str]:
    yield _RATIO.format("rate of", "", "10 to 90 %", "mean")
    for name, ratio in (
        ("steps on their batches / on one batch", speed.real_over_synthetic),
        ("steps on one batch / convolutions alone", speed.step_over_bare),
    ):
        between = f"{ratio.low:.1%} to {ratio.high:.1%}"
        yield _RATIO.format(name, f"{ratio.median:.1%}", between, f"{ratio.mean:.1%}")
    yield (
        f"{len(speed.took.bare)} rounds; a ratio is computed for each round, and the table shows "
        "the median over rounds"
    )


def _table_of_convolutions(speed: TrainingSpeed) -> Iterator[str]:
    gmacs = speed.mmac / Spread.of(speed.took.bare).median
    yield (
        f"a step executes {len(speed.convolutions)} convolutions ({speed.mmac:.0f} MMAC; alone, "
        f"they run at {gmacs:.0f} GMAC/s) and {speed.matrix_products} matrix products"
    )
    heads = [cell for direction in DIRECTIONS for cell in (direction.split()[-1], "MMAC")]
    yield _CONVOLUTIONS.format("", *heads)
    for part in dict.fromkeys(c.part for c in speed.convolutions):
        yield _row(part, [c for c in speed.convolutions if c.part == part])
    yield _row("all", speed.convolutions)


def _row(part: str, convolutions: Iterable[Convolution]) -> str:
    cells: list[str] = []
    for direction in DIRECTIONS:
        these = [c for c in convolutions if c.direction == direction]
        cells += [str(len(these)), f"{sum(c.mmac for c in these):.1f}"]
    return _CONVOLUTIONS.format(part, *cells)


def _shares(title: str, ops: Iterable[OpTime], group: Callable[[OpTime], str]) -> Iterator[str]:
    grouped: dict[str, list[OpTime]] = {}
    for op in ops:
        grouped.setdefault(group(op), []).append(op)
    whole = sum(map(_sum, grouped.values()))
    yield _SHARE.format(title, "ops", "ms", "")
    for name, these in sorted(grouped.items(), key=lambda item: -_sum(item[1])):
        ms = _sum(these)
        yield _SHARE.format(name, len(these), f"{ms:.2f}", f"{ms / whole:.1%}")


def _sum(ops: Iterable[OpTime]) -> float:
    return sum(op.ms for op in ops)
