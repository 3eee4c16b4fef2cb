"""The speed of training, as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mggr_tf.benchmark.training.convolutions import DIRECTIONS, Convolution, is_convolution
from mggr_tf.benchmark.training.kinds import kind_of
from mggr_tf.benchmark.training.parts import part_of
from mggr_tf.benchmark.training.speed import Spread, TrainingSpeed
from mggr_tf.benchmark.training.trace import OpTime

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
    """Rates, ratios, and which convolutions there are."""
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
    """Where a step's time goes: by kind of op, by whose it is, and the longest ops."""
    step = speed.step
    others = [op for op in step.ops if not is_convolution(op.op)]
    slowest = sorted(others, key=lambda op: -op.ms)[:_SLOWEST]
    return "\n".join(
        [
            f"a step on one batch under the profiler: {step.call_ms:.1f} ms; its "
            f"{len(step.ops)} ops take {_sum(step.ops):.1f} ms of all threads that call them, "
            f"what lies between them {step.executor_ms - _sum(step.ops):.1f} ms",
            "",
            *_shares("kind of op", step.ops, kind_of),
            "",
            *_shares("whose", step.ops, lambda op: part_of(op.name)),
            "",
            *_shares("whose, without convolutions", others, lambda op: part_of(op.name)),
            "",
            "the longest that are no convolutions",
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
    yield f"{len(speed.took.bare)} rounds in turns; ratios within a round, medians over rounds"


def _table_of_convolutions(speed: TrainingSpeed) -> Iterator[str]:
    gmacs = speed.mmac / Spread.of(speed.took.bare).median
    yield (
        f"a step executes {len(speed.convolutions)} convolutions, {speed.mmac:.0f} MMAC, alone at "
        f"{gmacs:.0f} GMAC/s, and {speed.matrix_products} matrix products"
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
