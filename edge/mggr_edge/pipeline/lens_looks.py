"""Looks into the lens, found among frames, and the calibration that they refine.

A mean would be pulled to the screen, which people look at more often than at the lens. A mode is
not: looks at the lens and looks at the screen are two clusters, and hill climbing from the lens
ends on the nearer one.

People on calls look at the lens, or at faces near it, again and again. Those looks have a known
true gaze, near (0, 0), so their mean estimate shows what is left of the estimator's error: after
another camera position, in another light, or without a profile. `lens_looks` finds them as the
cluster of gazes nearest to the lens, among steady looks with open eyes and a head that keeps still.

The risk: a person who never looks at the lens has another cluster, that of the screen, and taking
it for the lens would turn the eyes away from the camera. So the change to the profile is bounded by
`MOST_CHANGE_DEG`, half of what the estimator shows between the lens and the middle of a small
laptop's screen; a cluster beyond that changes nothing and is reported. With an error larger than
the bound the screen may be the nearer cluster, so calibrate with `mggr-edge calibrate` first.

References:
    [1] Comaniciu, Meer, Mean Shift, PAMI 2002.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import atan2, degrees, exp, pi
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.common.timing import MAX_GAP_S
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FaceResult, FrameProcess, FrameResult
from mggr_edge.pipeline.tracks import ANGLES

SCREEN_DEG = degrees(atan2(0.10, 0.60))
"""Angle between the lens and the middle of a small laptop's screen: 10 cm at 60 cm."""
_GAIN = 0.59
"""Degrees of pitch that the packaged estimator shows per degree (Columbia people 0001-0027)."""

MOST_CHANGE_DEG = SCREEN_DEG * _GAIN / 2
"""A cluster that is further from the lens may be that of the screen, which is as near to it."""

BANDWIDTH_DEG = 1.5
"""Of the kernel: about the noise of a steadied estimate. Two clusters have two modes if they are
apart by twice the root of the sum of squares of both."""

NEAR_DEG = 2 * BANDWIDTH_DEG
"""Looks that are nearer to a mode belong to it."""

MEMORY_S = 300.0
"""Looks lose their weight with this time constant."""

LEAST_SHARE = 0.05
"""Of all looks, a cluster holds at least this share; fewer are strays of the estimator."""

LEAST_S = 10.0
"""A cluster holds at least looks of this length together."""

_CELL_DEG = 0.5
_CELLS = 2 * int(np.ceil((MOST_CHANGE_DEG + 3 * BANDWIDTH_DEG) / _CELL_DEG)) + 1
_CLIMB_STEPS = 100
_CLIMBED_DEG = 0.01

Found = Literal["few", "far", "near"]
"""Too few looks near the lens; the nearest cluster is out of bounds; it is within bounds."""


@dataclass(frozen=True)
class Cluster:
    """The cluster of looks that is nearest to the lens.

    Attributes:
        found: whether it may be taken for looks into the lens.
        gaze_deg: (pitch, yaw) of its mode; (0, 0) unless `found` is "near".
        share: of all looks, in [0, 1].
    """

    found: Found
    gaze_deg: tuple[float, float] = (0.0, 0.0)
    share: float = 0.0


class LensLooks:
    """Gathers gazes in a histogram around the lens, and finds its mode nearest to the lens."""

    def __init__(self) -> None:
        self._weights_s = np.zeros((_CELLS, _CELLS))
        self._all_s = 0.0

    def add(self, gaze_deg: ArrayLike, seconds: float) -> None:
        """Adds a look.

        Args:
            gaze_deg: [2] (pitch, yaw) relative to the lens.
            seconds: its length.
        """
        kept = exp(-seconds / MEMORY_S)
        self._weights_s *= kept
        self._all_s = self._all_s * kept + seconds
        place = np.asarray(gaze_deg, np.float64) / _CELL_DEG + _CELLS // 2
        if not ((place >= 0) & (place < _CELLS - 1)).all():
            return
        low = place.astype(int)
        row, column = place - low
        cells = self._weights_s[low[0] : low[0] + 2, low[1] : low[1] + 2]
        cells += seconds * np.outer((1 - row, row), (1 - column, column))

    def cluster(self) -> Cluster:
        """The cluster whose mode is reached by mean shift [1] from the lens."""
        mode = np.zeros(2)
        for _ in range(_CLIMB_STEPS):
            kernel = self._weights_s * np.exp(-_squares_deg2(mode) / (2 * BANDWIDTH_DEG**2))
            # Weight that the looks of one second would have three bandwidths away.
            if kernel.sum() < exp(-4.5):
                return Cluster("few")
            step = _mean(kernel) - mode
            mode += step
            if np.linalg.norm(mode) > MOST_CHANGE_DEG:
                return Cluster("far" if self._all_s >= LEAST_S else "few")
            if np.linalg.norm(step) < _CLIMBED_DEG:
                break
        held_s = float(self._weights_s[_squares_deg2(mode) <= NEAR_DEG**2].sum())
        share = held_s / self._all_s
        if held_s < LEAST_S or share < LEAST_SHARE:
            return Cluster("few", share=share)
        return Cluster("near", (float(mode[0]), float(mode[1])), share)


_AXIS_DEG = (np.arange(_CELLS) - _CELLS // 2) * _CELL_DEG


def _squares_deg2(centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distance of each cell from a gaze."""
    distances: NDArray[np.float64] = (_AXIS_DEG[:, None] - centre[0]) ** 2 + (
        _AXIS_DEG - centre[1]
    ) ** 2
    return distances


def _mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = weights.sum(axis=1), weights.sum(axis=0)
    return np.array([rows @ _AXIS_DEG, columns @ _AXIS_DEG]) / weights.sum()


TIME_CONSTANT_S = 60.0
"""The correction follows the cluster with this time constant."""

MOST_HEAD_SPEED_DEG_PER_S = 2 * pi * ANGLES.min_cutoff_hz
"""Faster heads are not used: a steadied angle lags by a degree at this speed."""

_EVERY_S = 1.0
"""Of used frames, between two updates."""
_PATIENCE_S = 60.0
"""Of used frames, until missing looks at the lens are reported."""
_REPORTED_DEG = 0.5
"""The correction's change is logged in steps of this size."""

_REASONS: dict[Found, str] = {
    "few": f"a cluster near the lens needs {LEAST_S:g} s and {LEAST_SHARE:.0%} of recent looks, "
    "and there is none",
    "far": f"the looks nearest to the lens are more than {MOST_CHANGE_DEG:.1f} degrees from it; "
    "run `mggr-edge calibrate`",
}


class AutoCalibration:
    """Passes frames to a redirector and sets its correction from what they show.

    Frames with exactly one face are used; with several, whose error it is would be unknown. A new
    bundle (`Redirector.take`) starts again from its own correction. Pictures without a time pass
    through.

    Args:
        process: passes frames to the redirector.
        redirector: its correction is refined.
        notify: takes what happens.
    """

    def __init__(
        self, process: FrameProcess, redirector: Redirector, *, notify: Callable[[str], None]
    ) -> None:
        self._process, self._redirector, self._notify = process, redirector, notify
        self._used_s = self._near_s = 0.0
        self._begin()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Passes a frame through and learns from its result."""
        if self._redirector.bundle is not self._bundle:
            self._begin()
        result = self._process(frame, time_s=time_s)
        if time_s is not None:
            self._learn(result, time_s)
        return result

    @property
    def change_deg(self) -> tuple[float, float]:
        """(pitch, yaw) that was added to the profile's offset, at most `MOST_CHANGE_DEG` long."""
        return float(self._change_deg[0]), float(self._change_deg[1])

    @property
    def near_lens_s(self) -> float:
        """Seconds of steady looks near the lens so far."""
        return self._near_s

    def reset(self) -> None:
        """Returns to the correction at the start: call it before another video."""
        self._redirector.correction = self._base
        self._begin()

    def facts(self) -> dict[str, Any]:
        """Its state, as JSON takes it.

        Angles are in degrees, (pitch, yaw), in the head's axes; times in seconds.
        """
        return {
            "change_deg": [round(angle, 2) for angle in self.change_deg],
            "near_lens_s": round(self._near_s, 1),
            "used_s": round(self._used_s, 1),
            "looks": self._cluster.found,
        }

    def in_words(self) -> str:
        """Its state as one line."""
        pitch_deg, yaw_deg = self.change_deg
        text = (
            f"auto-calibration changed the offset by {pitch_deg:+.1f} (pitch) and {yaw_deg:+.1f} "
            f"(yaw) degrees; {self._near_s:.0f} of {self._used_s:.0f} s of steady looks were near "
            "the lens"
        )
        reason = _REASONS.get(self._cluster.found)
        return text if reason is None else f"{text}; {reason}"

    def _begin(self) -> None:
        """Takes the redirector's correction for the profile's."""
        self._bundle, self._base = self._redirector.bundle, self._redirector.correction
        self._looks, self._cluster = LensLooks(), Cluster("few")
        self._change_deg, self._reported_deg = np.zeros(2), np.zeros(2)
        self._reported: Found = "near"
        self._last: tuple[float, FaceResult] | None = None
        self._since_update_s = self._without_s = 0.0

    def _learn(self, result: FrameResult, time_s: float) -> None:
        face = result.faces[0] if len(result.faces) == 1 else None
        last, self._last = self._last, None if face is None else (time_s, face)
        gaze = None if face is None else face.eyes[0].gaze_before
        if face is None or gaze is None or last is None or last[1].identity != face.identity:
            return
        step_s = time_s - last[0]
        if not 0 < step_s <= MAX_GAP_S:
            return
        turned_deg = face.head_pose.angle_to(last[1].head_pose)
        if turned_deg > MOST_HEAD_SPEED_DEG_PER_S * step_s:
            return
        corrected = gaze.rolled(face.roll_deg)
        gaze_deg = np.array([corrected.pitch_deg, corrected.yaw_deg])
        self._looks.add(gaze_deg + self._change_deg, step_s)
        self._used_s += step_s
        self._near_s += step_s if np.linalg.norm(gaze_deg) <= NEAR_DEG else 0.0
        self._since_update_s += step_s
        if self._since_update_s >= _EVERY_S:
            self._update(self._since_update_s)
            self._since_update_s = 0.0

    def _update(self, step_s: float) -> None:
        self._cluster = self._looks.cluster()
        if self._cluster.found == "near":
            follow = 1 - exp(-step_s / TIME_CONSTANT_S)
            self._change_deg += follow * (np.array(self._cluster.gaze_deg) - self._change_deg)
            self._redirector.correction = self._base.moved(self._change_deg)
            self._without_s = 0.0
        else:
            self._without_s += step_s
        self._report()

    def _report(self) -> None:
        """Logs a change of half a degree, and once that looks at the lens are missing."""
        found = self._cluster.found
        if found == "near":
            self._reported = "near"
            if np.linalg.norm(self._change_deg - self._reported_deg) >= _REPORTED_DEG:
                self._reported_deg = self._change_deg.copy()
                self._notify(self.in_words())
        elif self._without_s >= _PATIENCE_S and found != self._reported:
            self._reported = found
            self._notify(self.in_words())
