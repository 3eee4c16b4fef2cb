"""Parity: how far an artifact's outputs are from those of its Keras model.

The artifact runs through the device's own runner, on inputs made by the
device's own preprocessing. What is compared, and with which limits, is data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.contract import GazeShown, Parity
from mggr_edge.interpreters import Runner
from mggr_export.calibration import Arrays, one_by_one

RANGES = {
    "eye": (-1.0, 1.0),
    "gazemap": (0.0, 1.0),
    "coarse": (-1.0, 1.0),
    "redirected": (-1.0, 1.0),
}
"""Tensors with a range of their own; of others PSNR takes what Keras spans on these inputs."""


@dataclass(frozen=True)
class Limit:
    """What one output may differ by; None is no limit. Units are the tensor's own."""

    max_abs: float | None = None
    mean_abs: float | None = None
    min_psnr_db: float | None = None

    def misses(self, parity: Parity) -> bool:
        """Whether the measured difference lies outside."""
        return (
            _above(parity.max_abs, self.max_abs)
            or _above(parity.mean_abs, self.mean_abs)
            # No PSNR at all: the two are equal.
            or (parity.psnr_db is not None and _above(self.min_psnr_db, parity.psnr_db))
        )

    def __str__(self) -> str:
        parts = []
        if self.max_abs is not None:
            parts.append(f"max {self.max_abs:g}")
        if self.mean_abs is not None:
            parts.append(f"mean {self.mean_abs:g}")
        if self.min_psnr_db is not None:
            parts.append(f"{self.min_psnr_db:g} dB")
        return ", ".join(parts)


_EXACT = Limit(max_abs=1e-4)

LIMITS: dict[str, dict[str, Limit]] = {
    # Measured on real eyes: 5e-6 of pictures, 4e-6 pixels of flow.
    "float32": dict.fromkeys(("flow", "coarse", "residual", "redirected", "gaze"), _EXACT),
    # Half precision has three digits.
    "float16": {
        "flow": Limit(mean_abs=0.02),
        "coarse": Limit(min_psnr_db=55.0),
        "residual": Limit(mean_abs=0.002),
        "redirected": Limit(min_psnr_db=55.0),
        "gaze": Limit(mean_abs=0.01),
    },
    # Measured on real eyes: 52 dB, 0.028 pixels of flow on average, 0.003 of residual,
    # 0.022 of gaze; calibrated on real eyes and compared on synthetic ones 49 dB, 0.039,
    # 0.003 and 0.034. A wrong axis or sign costs whole pixels of flow.
    "int8": {
        "flow": Limit(mean_abs=0.15),
        "coarse": Limit(min_psnr_db=30.0),
        "residual": Limit(mean_abs=0.01),
        "redirected": Limit(min_psnr_db=30.0),
        "gaze": Limit(mean_abs=0.08),  # 0.8 degrees of pitch, 1.2 of yaw
    },
}
"""Precision -> output -> limit. An output that is not listed is an error."""


MAX_EXTRA_GAZE_DEG = {"float32": 0.01, "float16": 0.02, "int8": 0.15}
"""Precision -> by how much further from its target a redirected gaze may be, on average."""


def run_each(
    runner: Runner, inputs: Arrays, *, advance: Callable[[int], None] = lambda n: None
) -> Arrays:
    """Runs an artifact on inputs [N, ...] one by one, as a device does.

    Returns:
        [N, ...] of every output.
    """
    parts = []
    for example in one_by_one(inputs):
        parts.append(runner(example))
        advance(1)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compare_each(made: Arrays, right: Arrays, *, data: str) -> tuple[Parity, ...]:
    """Compares every output with that of Keras, [N, ...] each.

    Raises:
        ValueError: they are not the same outputs.
    """
    if set(made) != set(right):
        raise ValueError(f"outputs {sorted(made)}, Keras has {sorted(right)}")
    return tuple(compare(name, made[name], right[name], data=data) for name in sorted(right))


def compare(name: str, made: NDArray, right: NDArray, *, data: str) -> Parity:
    """Compares one output, [N, ...] each."""
    difference = made.astype(np.float64) - right
    rms = float(np.sqrt(np.mean(difference**2)))
    span = max(float(np.ptp(RANGES.get(name, right))), 1e-6)
    return Parity(
        output=name,
        pairs=len(right),
        data=data,
        max_abs=_rounded(float(np.abs(difference).max())),
        mean_abs=_rounded(float(np.abs(difference).mean())),
        psnr_db=None if rms == 0 else _rounded(20 * float(np.log10(span / rms))),
    )


def misses(precision: str, parities: Iterable[Parity]) -> list[str]:
    """What breaks its limit, one sentence each; empty when all is well."""
    limits = LIMITS[precision]
    return [
        f"{p.output} differs by max {p.max_abs:.2g}, mean {p.mean_abs:.2g}, {_db(p.psnr_db)} "
        f"(limit: {limits[p.output]})"
        for p in parities
        if limits[p.output].misses(p)
    ]


def gaze_misses(precision: str, gaze: GazeShown | None) -> list[str]:
    """What a redirector's pictures lose in aim beyond its limit, as a sentence."""
    limit = MAX_EXTRA_GAZE_DEG[precision]
    # "not <=" rather than ">": NaN is a miss.
    if gaze is None or gaze.extra_deg <= limit:
        return []
    return [f"the redirected gaze is {gaze.extra_deg:.3g} degrees further off (limit: {limit:g})"]


def parity_text(models: Mapping[str, tuple[str, Iterable[Parity]]]) -> str:
    """The table for a terminal.

    Args:
        models: name of the file -> (precision, parities).
    """
    form = "{:<17} {:<9} {:<11} {:>9} {:>9} {:>9}  {}"
    lines = [form.format("file", "precision", "output", "max", "mean", "PSNR", "limit")]
    for model, (precision, parities) in models.items():
        for p in parities:
            limit = LIMITS[precision][p.output]
            verdict = f"{limit}{'  BROKEN' if limit.misses(p) else ''}"
            numbers = (f"{p.max_abs:.2e}", f"{p.mean_abs:.2e}", _db(p.psnr_db))
            lines.append(form.format(model, precision, p.output, *numbers, verdict))
    return "\n".join(lines)


def _above(value: float | None, limit: float | None) -> bool:
    # "not <=" rather than ">": NaN is a miss.
    return value is not None and limit is not None and not value <= limit


def _rounded(value: float) -> float:
    """Four digits: what is beyond differs between processors."""
    return float(f"{value:.4g}")


def _db(psnr_db: float | None) -> str:
    return "equal" if psnr_db is None else f"{psnr_db:.1f} dB"
