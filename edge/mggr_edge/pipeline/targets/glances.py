"""A target that looks away now and then, as people do: who never does is taken to stare."""

from __future__ import annotations

import numpy as np

from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.targets.fixed import MAX_PITCH_DEG, MAX_YAW_DEG

_HELD_S = (3.3, 0.7)
"""How long a gaze is met before it becomes uncomfortable, mean and standard deviation [1]."""

_AWAY_S = (0.5, 1.4)
"""How long a glance lasts; chosen, as are the directions: mostly sideways, rather down than up."""
_YAW_DEG = (5.0, 11.0)
_PITCH_DEG = (-6.0, 3.0)

_PAUSE_S = 10.0
"""Who saw no frame for so long begins anew, at the target."""

_SACCADE_S = 0.021
_SACCADE_S_PER_DEG = 0.0022
"""An eye takes so long for a jump, and so much longer for every degree of it [2]."""


class Glances:
    """Rests on a target and leaves it for a moment every few seconds, by a seed.

    Args:
        target: where the eyes come back to.
        seed: of times and directions.

    References:
        [1] Binetti et al., Pupil dilation as an index of preferred mutual gaze duration,
            R. Soc. Open Sci. 3, 2016: 3.3 seconds, 0.7 between people.
        [2] Carpenter, Movements of the Eyes, 1988: 2.2 ms a degree and 21 ms.
    """

    def __init__(self, target: Gaze, *, seed: int = 0) -> None:
        self._target = target
        self._rng = np.random.default_rng(seed)
        self._is_away = False
        self._from = self._to = target
        self._jumps_at_s: float | None = None
        self._jumped_at_s = self._takes_s = 0.0

    def at(self, time_s: float) -> Gaze:
        """The target at a time.

        A time that goes back by more than a glance lasts, or forward by a long pause, starts anew.
        """
        if self._jumps_at_s is None or not (
            self._jumped_at_s - _AWAY_S[0] <= time_s <= self._jumps_at_s + _PAUSE_S
        ):
            self._is_away, self._from, self._to = False, self._target, self._target
            self._jumped_at_s, self._jumps_at_s = time_s, time_s + self._hold_s()
        while time_s >= self._jumps_at_s:
            self._jumped_at_s = self._jumps_at_s
            self._is_away = not self._is_away
            self._from, self._to = self._to, self._glance() if self._is_away else self._target
            self._takes_s = _SACCADE_S + _SACCADE_S_PER_DEG * self._from.angle_to(self._to)
            self._jumps_at_s += self._hold_s()
        if time_s - self._jumped_at_s >= self._takes_s:
            return self._to
        t = max(0.0, (time_s - self._jumped_at_s) / self._takes_s)
        share = t * t * (3.0 - 2.0 * t)
        return Gaze.from_array((1 - share) * self._from.array() + share * self._to.array())

    def _hold_s(self) -> float:
        if self._is_away:
            return float(self._rng.uniform(*_AWAY_S))
        mean, deviation = _HELD_S
        return float(np.clip(self._rng.normal(mean, deviation), mean - 2, mean + 2))

    def _glance(self) -> Gaze:
        yaw_deg = self._rng.choice([-1.0, 1.0]) * self._rng.uniform(*_YAW_DEG)
        pitch_deg = self._rng.uniform(*_PITCH_DEG)
        return Gaze(
            float(np.clip(self._target.pitch_deg + pitch_deg, -MAX_PITCH_DEG, MAX_PITCH_DEG)),
            float(np.clip(self._target.yaw_deg + yaw_deg, -MAX_YAW_DEG, MAX_YAW_DEG)),
        )
