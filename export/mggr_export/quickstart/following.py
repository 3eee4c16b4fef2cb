"""Does the gaze follow the target? Two witnesses, and a straight line through each.

The first witness is the run's own estimator. It was a loss in training, so it
may be satisfied where an eye is not: its word alone proves little. The second is
MediaPipe's iris model, which training never saw: how far the iris has moved
between the frame before and after, turned into degrees by the geometry of the
gazemap, in which the iris stands `d (sin yaw cos pitch, -sin pitch)` from the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.contract import Conventions

_PROBE_DEG = 20.0


@dataclass(frozen=True)
class Line:
    """What was seen as a straight line over what was asked for.

    Attributes:
        slope: degrees seen per degree asked for; 1 is perfect, 0 does not follow.
        offset_deg: what is seen where 0 was asked for.
        correlation: of both, in [-1, 1]; 0 when nothing ever moved.
    """

    slope: float
    offset_deg: float
    correlation: float


@dataclass(frozen=True)
class Following:
    """How one witness saw the gaze follow.

    Attributes:
        yaw, pitch: each axis on its own.
        mean_error_deg: angle between what was seen and what was asked for.
    """

    yaw: Line
    pitch: Line
    mean_error_deg: float


def fit_line(asked_deg: ArrayLike, seen_deg: ArrayLike) -> Line:
    """The least-squares line of what was seen over what was asked for.

    Raises:
        ValueError: different lengths, fewer than two points, or one asked angle only.

    Example:
        >>> fit_line([-10.0, 0.0, 10.0], [-4.0, 1.0, 6.0])
        Line(slope=0.5, offset_deg=1.0, correlation=1.0)
    """
    asked, seen = np.asarray(asked_deg, np.float64), np.asarray(seen_deg, np.float64)
    if asked.shape != seen.shape or asked.ndim != 1 or len(asked) < 2:
        raise ValueError(f"expected two lists of one length, got {asked.shape} and {seen.shape}")
    from_mean, seen_from_mean = asked - asked.mean(), seen - seen.mean()
    spread, seen_spread = float(from_mean @ from_mean), float(seen_from_mean @ seen_from_mean)
    if spread == 0:
        raise ValueError("a line needs two different angles that were asked for")
    together = float(from_mean @ seen_from_mean)
    slope = together / spread
    correlation = together / float(np.sqrt(spread * seen_spread)) if seen_spread else 0.0
    return Line(slope, float(seen.mean() - slope * asked.mean()), correlation)


def following(asked: Sequence[Gaze], seen: Sequence[Gaze]) -> Following:
    """Sums up one witness."""
    asked_deg = np.stack([gaze.array() for gaze in asked]).astype(np.float64)
    seen_deg = np.stack([gaze.array() for gaze in seen]).astype(np.float64)
    return Following(
        pitch=fit_line(asked_deg[:, 0], seen_deg[:, 0]),
        yaw=fit_line(asked_deg[:, 1], seen_deg[:, 1]),
        mean_error_deg=float(np.mean([a.angle_to(s) for a, s in zip(asked, seen, strict=True)])),
    )


def gaze_of_iris_shift(shift_px: ArrayLike, conventions: Conventions) -> Gaze:
    """The gaze that stands for an iris so far from where it stood when looking at (0, 0).

    Args:
        shift_px: [2] (x, y) in pixels of the eye patch, +x right, +y down.
        conventions: of the gazemap.
    """
    x, y = np.asarray(shift_px, np.float64) / _iris_distance_px(conventions)
    pitch = np.arcsin(np.clip(-y, -1.0, 1.0))
    yaw = np.arcsin(np.clip(x / max(np.cos(pitch), 1e-6), -1.0, 1.0))
    return Gaze(float(np.degrees(pitch)), float(np.degrees(yaw)))


def _iris_distance_px(conventions: Conventions) -> float:
    """How far the iris' middle lies from the eyeball's; read off the map itself."""
    iris: NDArray[np.float32] = draw_gazemap(
        [0.0, _PROBE_DEG],
        size_px=conventions.patch_size,
        k=conventions.gazemap_k,
        edge_px=conventions.gazemap_edge_px,
    )[..., 0]
    middle = (conventions.patch_size - 1) / 2
    x = float((iris.sum(axis=0) @ np.arange(conventions.patch_size)) / iris.sum()) - middle
    return x / float(np.sin(np.radians(_PROBE_DEG)))
