"""Steadying what landmarks and estimators say, from frame to frame.

The One-Euro filter [1] is a low-pass whose cutoff rises with speed: it calms a
still eye and does not lag behind a moving one. Time is passed in, never read.

References:
    [1] Casiez, Roussel, Vogel, 1 Euro Filter, CHI 2012.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class OneEuro:
    """Settings of a One-Euro filter.

    Attributes:
        min_cutoff_hz: cutoff at rest; lower is calmer and slower.
        beta: rise of the cutoff in Hz per unit of speed; higher lags less.
        speed_cutoff_hz: cutoff of the filter on the speed itself.
    """

    min_cutoff_hz: float
    beta: float
    speed_cutoff_hz: float = 1.0


class OneEuroFilter:
    """Filters one array over time.

    All its elements share one cutoff, from their root mean square speed, so that
    an outline is not bent by points that lag differently.

    Args:
        settings: see `OneEuro`.
    """

    def __init__(self, settings: OneEuro) -> None:
        self._settings = settings
        self._time_s = 0.0
        self._value: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] = np.zeros(())

    def __call__(
        self, value: ArrayLike, time_s: float, *, unit: float = 1.0
    ) -> NDArray[np.float64]:
        """Takes the value at `time_s` and returns the filtered one.

        Args:
            value: array of the same shape at every call; the first one passes
                unchanged.
            time_s: not earlier than at the call before. At the same time as that call, the
                formula's limit holds: the new value has no weight.
            unit: speed is measured in these per second, for example the eye's
                width, so that settings do not depend on the camera.

        Raises:
            ValueError: time goes back.
        """
        value = np.asarray(value, np.float64)
        if self._value is None:
            self._time_s, self._value, self._speed = time_s, value, np.zeros_like(value)
            return value
        step_s = time_s - self._time_s
        if step_s < 0:
            raise ValueError(f"time must not go back: {time_s} s after {self._time_s} s")
        if step_s == 0:
            return self._value
        raw_speed = (value - self._value) / step_s / unit
        self._speed = self._speed + _weight(self._settings.speed_cutoff_hz, step_s) * (
            raw_speed - self._speed
        )
        speed = float(np.sqrt(np.mean(self._speed**2)))
        cutoff_hz = self._settings.min_cutoff_hz + self._settings.beta * speed
        self._value = self._value + _weight(cutoff_hz, step_s) * (value - self._value)
        self._time_s = time_s
        return self._value


def _weight(cutoff_hz: float, step_s: float) -> float:
    """The new sample's weight in an exponential filter of that cutoff [1, eq. 3]."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * step_s))
