"""Smooth landmarks and gaze estimates from frame to frame with a One-Euro filter.

The One-Euro filter [1] is a low-pass filter whose cutoff frequency increases with speed. It reduces
the jitter of a still eye and does not lag behind a moving eye. The caller passes the time of each
value. The filter does not read a clock.

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
        min_cutoff_hz: cutoff frequency in Hz at speed 0. With a lower value, the filter smooths
            more and lags more.
        beta: increase of the cutoff frequency in Hz per unit of speed. With a higher value, the
            filter lags less.
        speed_cutoff_hz: cutoff frequency in Hz of the low-pass filter that smooths the speed.
    """

    min_cutoff_hz: float
    beta: float
    speed_cutoff_hz: float = 1.0


class OneEuroFilter:
    """Filter for one array over time.

    All elements share one cutoff frequency, which depends on their root mean square speed.
    Therefore all points of an outline lag equally, and the shape of the outline is not distorted.

    Args:
        settings: the settings of the filter.
    """

    def __init__(self, settings: OneEuro) -> None:
        self._settings = settings
        self._time_s = 0.0
        self._value: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] = np.zeros(())

    def __call__(
        self, value: ArrayLike, time_s: float, *, unit: float = 1.0
    ) -> NDArray[np.float64]:
        """Add the value at `time_s` to the filter, and return the filtered value.

        Args:
            value: the new value. The shape of this array must be equal in all calls. The first
                value is returned unchanged.
            time_s: the time of the value in seconds. It must not be earlier than in the previous
                call. If both times are equal, the new value is ignored and the previous result is
                returned. (In the formula, the weight of the new value approaches 0 if the time step
                approaches 0.)
            unit: the length that counts as 1 for the speed, for example the width of the eye. With
                a suitable unit, the settings do not depend on the camera.

        Raises:
            ValueError: `time_s` is earlier than in the previous call.
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
    """Return the weight of the new value in an exponential filter with this cutoff [1, eq. 3]."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * step_s))
