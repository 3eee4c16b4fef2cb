"""The lids: two curves that bound what is seen of the eyeball.

Each margin runs from the outer (t = 0) to the inner corner (t = 1) on a dome
a little before the eyeball. The upper one sinks and rises with the gaze, the
lower one follows a little. Painters read the margins as one height per
picture column, so that "how far above the lid" is an array operation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import Gaze
from mggr_tf.data.synthetic.layout import Field, View
from mggr_tf.data.synthetic.subject import Eyeball, Lids

_POINTS = 41
_LOWER_FOLLOW = 0.25
_LEAST_GAP_MM = 1.6
"""Nobody here blinks: the opening keeps this height."""


@dataclass(frozen=True)
class Margins:
    """The lids' edges in head millimetres: `upper`, `lower` [N, 3], from outer to inner corner."""

    upper: NDArray[np.float64]
    lower: NDArray[np.float64]

    def outline(self) -> NDArray[np.float64]:
        """[2 N - 2, 3] closed round the opening, each corner once."""
        return np.concatenate([self.upper, self.lower[-2:0:-1]])


@dataclass(frozen=True)
class Opening:
    """The margins as the picture shows them.

    Attributes:
        above_mm: [n, n] distance above the upper margin, negative below it.
        below_mm: [n, n] distance below the lower margin, negative above it.
        beyond_mm: [n] distance of the columns outside the corners, eased in; 0 between them.
        along: [n] position of the columns between the corners; 0 outer, 1 inner.
        cover: [n, n] share of each pixel that shows the eyeball.
        rise_mm: upper margin above where it rests, as gaze moves it.
    """

    above_mm: Field
    below_mm: Field
    beyond_mm: NDArray[np.float32]
    along: NDArray[np.float32]
    cover: Field
    rise_mm: float


def margins_at(lids: Lids, *, rise_mm: float = 0.0, lower_rise_mm: float = 0.0) -> Margins:
    """The margins with the upper and lower lid moved up by so much from rest."""
    t = np.linspace(0, 1, _POINTS)
    x = lids.width_mm * (t - 0.5) + lids.nasal_mm
    base = -lids.corner_drop_mm - np.tan(np.radians(lids.tilt_deg)) * lids.width_mm * (t - 0.5)
    # The inner corner is drawn out to a point; the outer one is rounder.
    exponent = lids.roundness + 0.25 * t**2
    upper_shape = np.sin(np.pi * t**lids.skew) ** exponent
    lower_shape = np.sin(np.pi * t ** (1.7 - 0.8 * lids.skew)) ** (exponent + 0.08)
    upper_mm = lids.upper_mm + lids.corner_drop_mm + rise_mm
    lower_mm = lids.lower_mm - lids.corner_drop_mm - lower_rise_mm
    upper_mm = max(upper_mm, _LEAST_GAP_MM - lower_mm)
    upper, lower = base + upper_mm * upper_shape, base - lower_mm * lower_shape
    upper = np.maximum(upper, lower)
    return Margins(_on_dome(x, upper, t), _on_dome(x, lower, t))


def lid_rises_mm(lids: Lids, eyeball: Eyeball, *, gaze: Gaze, head_pose: Gaze) -> NDArray:
    """How far the (upper, lower) lid follows the eye's up-and-down within the head."""
    nod = np.clip(gaze.pitch_deg - head_pose.pitch_deg, -40, 40)
    travel = eyeball.radius_mm * np.sin(np.radians(nod))
    # Going up, the lid is at its end sooner.
    return np.array([lids.follow * travel * (0.75 if nod > 0 else 1), _LOWER_FOLLOW * travel])


def see_opening(margins: Margins, view: View, *, rise_mm: float) -> Opening:
    """Projects the margins and measures every pixel's distance from them."""
    upper, lower = _by_column(margins.upper, view), _by_column(margins.lower, view)
    first, last = (float(view.project(margins.upper[[i]])[0, 0]) for i in (0, -1))
    columns = np.arange(view.size_px, dtype=np.float32)
    beyond = np.maximum(np.maximum(first - columns, columns - last), 0)
    # Beyond the corners the curves cross and part, so that the opening ends there.
    upper, lower = upper + 0.6 * beyond, lower - 0.6 * beyond
    rows = columns[:, None]
    above = (upper - rows) * _steepness(upper)
    below = (rows - lower) * _steepness(lower)
    cover = np.clip(0.5 - np.maximum(above, below), 0, 1)
    return Opening(
        above_mm=above / np.float32(view.px_per_mm),
        below_mm=below / np.float32(view.px_per_mm),
        beyond_mm=_eased(beyond / np.float32(view.px_per_mm)),
        along=np.clip((columns - first) / (last - first), 0, 1).astype(np.float32),
        cover=cover,
        rise_mm=rise_mm,
    )


def _on_dome(x: NDArray, y: NDArray, t: NDArray) -> NDArray[np.float64]:
    # Flat enough that no margin folds over at 40 degrees; the inner corner lies forward.
    z = 12.2 - 0.034 * (x**2 + y**2) + 1.5 * t**3
    return np.stack([x, y, z], axis=1)


def _by_column(margin_mm: NDArray[np.float64], view: View) -> NDArray[np.float32]:
    points = view.project(margin_mm)
    columns = np.arange(view.size_px)
    x = np.maximum.accumulate(points[:, 0])
    return np.interp(columns, x, points[:, 1]).astype(np.float32)


def _eased(beyond_mm: NDArray[np.float32]) -> NDArray[np.float32]:
    # Without a kink at the corner, which would show as an upright seam in the skin.
    return np.sqrt(beyond_mm**2 + 4) - 2


def _steepness(curve: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n] cosine of the curve's slope: turns vertical distances into (nearly) nearest ones."""
    slope = cv2.GaussianBlur(np.gradient(curve)[None].astype(np.float32), (0, 0), 5.0)[0]
    return 1 / np.sqrt(1 + slope**2)
