"""Calibrate the gaze estimates automatically, from the moments when a person looks at the lens.

People on calls repeatedly look at the lens, or at faces near it. The true gaze of these looks is
near (0, 0). Therefore the mean gaze estimate of these looks is the remaining error of the
estimator. If the camera position or the lighting has changed, or if there is no calibration
profile, an error remains. `LensLooks` searches for the cluster of gazes that is nearest to the
lens. A frame is used only if it shows exactly one face with open eyes, and if the head does not
move.

The position of the cluster is its mode (its densest point). A mean over all gazes would be wrong,
because people look at the screen more often than at the lens. Looks at the lens and looks at the
screen form two clusters. The search for the mode starts at the lens and ends in the cluster that is
nearer to the lens.

If a person never looks at the lens, the nearest cluster is the screen. A calibration with this
cluster would turn the eyes away from the camera. Therefore the change of the profile is limited to
`MOST_CHANGE_DEG`. This limit is half of the estimated angle between the lens and the middle of a
small laptop's screen. If the nearest cluster is beyond this limit, the profile does not change, and
a message reports the cluster. If the error of the estimator is larger than the limit, the looks at
the screen may form the nearest cluster. In this case, run `mggr-edge calibrate` first.

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
"""Angle in degrees between the lens and the middle of a small laptop's screen.

It is the visual angle of 10 cm at a distance of 60 cm.
"""
_GAIN = 0.59
"""Change of the estimated pitch, in degrees per degree of the true pitch.

The value applies to the packaged estimator and to subjects 0001-0027 of the Columbia Gaze Data Set.
"""

MOST_CHANGE_DEG = SCREEN_DEG * _GAIN / 2
"""Maximum change of the offset, in degrees.

A cluster at a larger distance from the lens may be nearer to the screen than to the lens. In this
case, the cluster consists of looks at the screen.
"""

BANDWIDTH_DEG = 1.5
"""Bandwidth of the kernel in degrees, about as large as the noise of a smoothed estimate.

If the distance of two clusters is at least 2 sqrt(bandwidth**2 + noise**2), they have separate
modes.
"""

NEAR_DEG = 2 * BANDWIDTH_DEG
"""Maximum distance in degrees between a gaze and the mode of its cluster."""

MEMORY_S = 300.0
"""Time constant, in seconds, of the exponential decrease of the weights of old gazes."""

LEAST_SHARE = 0.05
"""Minimum fraction of all gazes that a cluster must contain.

A smaller cluster consists of outliers of the estimator.
"""

LEAST_S = 10.0
"""Minimum total duration of the gazes in a cluster, in seconds."""

_CELL_DEG = 0.5
_CELLS = 2 * int(np.ceil((MOST_CHANGE_DEG + 3 * BANDWIDTH_DEG) / _CELL_DEG)) + 1
_CLIMB_STEPS = 100
_CLIMBED_DEG = 0.01

Found = Literal["few", "far", "near"]
"""Result of the search.

"few" means that there are too few gazes near the lens. "far" means that the nearest cluster is more
than `MOST_CHANGE_DEG` from the lens. "near" means that the nearest cluster is within this distance.
"""


@dataclass(frozen=True)
class Cluster:
    """The cluster of gazes that is nearest to the lens.

    Attributes:
        found: result of the search. Only a "near" cluster counts as gazes at the lens.
        gaze_deg: (pitch, yaw) of the mode in degrees. If `found` is not "near", the value is (0,
            0).
        share: fraction of all gazes that are in the cluster, in [0, 1].
    """

    found: Found
    gaze_deg: tuple[float, float] = (0.0, 0.0)
    share: float = 0.0


class LensLooks:
    """A histogram of gazes around the lens; `cluster` finds the mode nearest to the lens."""

    def __init__(self) -> None:
        self._weights_s = np.zeros((_CELLS, _CELLS))
        self._all_s = 0.0

    def add(self, gaze_deg: ArrayLike, seconds: float) -> None:
        """Add a gaze to the histogram.

        Args:
            gaze_deg: [2] (pitch, yaw) in degrees, relative to the lens.
            seconds: duration of the gaze in seconds.
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
        """Find the mode of the nearest cluster by mean shift [1], which starts at the lens."""
        mode = np.zeros(2)
        for _ in range(_CLIMB_STEPS):
            kernel = self._weights_s * np.exp(-_squares_deg2(mode) / (2 * BANDWIDTH_DEG**2))
            # The threshold is the weight of a gaze of one second at a distance of three bandwidths.
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
    """Return the squared distance between each cell and a gaze, in squared degrees."""
    distances: NDArray[np.float64] = (_AXIS_DEG[:, None] - centre[0]) ** 2 + (
        _AXIS_DEG - centre[1]
    ) ** 2
    return distances


def _mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = weights.sum(axis=1), weights.sum(axis=0)
    return np.array([rows @ _AXIS_DEG, columns @ _AXIS_DEG]) / weights.sum()


TIME_CONSTANT_S = 60.0
"""Time constant in seconds with which the correction follows the mode of the cluster."""

MOST_HEAD_SPEED_DEG_PER_S = 2 * pi * ANGLES.min_cutoff_hz
"""Maximum head speed in degrees per second. If the head is faster, the frame is not used.

At this speed, a smoothed angle is one degree behind the true angle.
"""

_EVERY_S = 1.0
"""Time in seconds between two updates. Only the time of used frames counts."""
_PATIENCE_S = 60.0
"""Time in seconds without a look at the lens, after which a message is sent.

Only the time of used frames counts.
"""
_REPORTED_DEG = 0.5
"""Change of the correction in degrees after which the correction is reported again."""

_REASONS: dict[Found, str] = {
    "few": "no cluster of gazes near the lens was found; a cluster needs gazes of at least "
    f"{LEAST_S:g} s in total, and at least {LEAST_SHARE:.0%} of the recent gazes",
    "far": f"the gazes nearest to the lens are more than {MOST_CHANGE_DEG:.1f} degrees from it; "
    "run `mggr-edge calibrate`",
}


class AutoCalibration:
    """Frame process that updates the gaze correction of a redirector after each frame.

    A frame process is a function that redirects a frame (see `results.FrameProcess`). Only frames
    with exactly one face are used. With several faces, it is unknown which person's error is
    measured. If the redirector gets a new bundle (`Redirector.take`), the calibration restarts from
    the correction of that bundle. Images without a time are redirected, but they are not used for
    the calibration.

    Args:
        process: frame process that passes frames to the redirector.
        redirector: redirector whose gaze correction is updated.
        notify: function that receives messages about changes, and about missing looks at the lens.
    """

    def __init__(
        self, process: FrameProcess, redirector: Redirector, *, notify: Callable[[str], None]
    ) -> None:
        self._process, self._redirector, self._notify = process, redirector, notify
        self._used_s = self._near_s = 0.0
        self._begin()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Process a frame and update the calibration from its result."""
        if self._redirector.bundle is not self._bundle:
            self._begin()
        result = self._process(frame, time_s=time_s)
        if time_s is not None:
            self._learn(result, time_s)
        return result

    @property
    def change_deg(self) -> tuple[float, float]:
        """Change of the profile's offset, (pitch, yaw) in degrees.

        The length of this vector is at most `MOST_CHANGE_DEG`.
        """
        return float(self._change_deg[0]), float(self._change_deg[1])

    @property
    def near_lens_s(self) -> float:
        """Total time so far, in seconds, in which the gaze was near the lens."""
        return self._near_s

    def reset(self) -> None:
        """Restore the initial correction; call this method before each further video."""
        self._redirector.correction = self._base
        self._begin()

    def facts(self) -> dict[str, Any]:
        """Return the state as JSON-serializable values.

        Angles are (pitch, yaw) in degrees, in the axes of the head. Times are in seconds.
        """
        return {
            "change_deg": [round(angle, 2) for angle in self.change_deg],
            "near_lens_s": round(self._near_s, 1),
            "used_s": round(self._used_s, 1),
            "looks": self._cluster.found,
        }

    def in_words(self) -> str:
        """Return the state as one line of text."""
        pitch_deg, yaw_deg = self.change_deg
        text = (
            f"auto-calibration changed the offset by {pitch_deg:+.1f} (pitch) and {yaw_deg:+.1f} "
            f"(yaw) degrees; the gaze was near the lens for {self._near_s:.0f} of "
            f"{self._used_s:.0f} s in which the head did not move"
        )
        reason = _REASONS.get(self._cluster.found)
        return text if reason is None else f"{text}; {reason}"

    def _begin(self) -> None:
        """Restart from the current correction of the redirector."""
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
        """Report each change of half a degree; report missing looks at the lens once per reason."""
        found = self._cluster.found
        if found == "near":
            self._reported = "near"
            if np.linalg.norm(self._change_deg - self._reported_deg) >= _REPORTED_DEG:
                self._reported_deg = self._change_deg.copy()
                self._notify(self.in_words())
        elif self._without_s >= _PATIENCE_S and found != self._reported:
            self._reported = found
            self._notify(self.in_words())
