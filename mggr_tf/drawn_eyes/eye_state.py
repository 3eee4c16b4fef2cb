"""The state of a drawn eye: opening, visible iris, occlusion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.vision.iris import Eye
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.flow import Sight, beyond_nose
from mggr_tf.drawn_eyes.lids import lid_region
from mggr_tf.drawn_eyes.rendered import Ellipse, RenderedEye, sixteen_points

_POINTS = 300
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def eye_state(eye: RenderedEye) -> NDArray[np.float32]:
    """[3] openness, iris_visible and occlusion, as the picture shows them.

    Openness is measured in the picture, as a device measures it: a turned head brings the corners
    together and so raises it. `RenderedEye.openness` is measured in the face.
    """
    seen = Eye(eye.side, sixteen_points(eye.outline), eye.iris.centre, eye.iris.major_px)
    openness = min(seen.openness, 1.0)
    return np.array([openness, iris_visible(eye.iris, eye.outline), eye.occlusion], np.float32)


def iris_visible(iris: Ellipse, outline: NDArray[np.float32]) -> float:
    """Part of the iris' ellipse inside the outline [N, 2], to about 0.01."""
    number = np.arange(_POINTS) + 0.5
    # Points that are spread evenly over a disc.
    radius, angle = np.sqrt(number / _POINTS), number * _GOLDEN_ANGLE
    along = iris.major_px * radius * np.cos(angle)
    across = iris.minor_px * radius * np.sin(angle)
    c, s = np.cos(np.radians(iris.angle_deg)), np.sin(np.radians(iris.angle_deg))
    x = iris.centre[0] + c * along - s * across
    y = iris.centre[1] + s * along + c * across
    return float(np.mean(_inside(x, y, outline.astype(np.float64))))


def _inside(
    x: NDArray[np.float64], y: NDArray[np.float64], polygon: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """[P] whether points lie in a closed polygon [N, 2], by counting edges to their right."""
    x1, y1 = polygon.T
    x2, y2 = np.roll(polygon, -1, axis=0).T
    crosses = (y1 <= y[:, None]) != (y2 <= y[:, None])
    slope = (x2 - x1) / np.where(y1 == y2, 1, y2 - y1)
    to_the_right = x[:, None] < x1 + slope * (y[:, None] - y1)
    inside: NDArray[np.bool_] = np.count_nonzero(crosses & to_the_right, axis=1) % 2 == 1
    return inside


_SUBPIXEL_BITS = 4


def hidden_share(
    outline: NDArray[np.floating],
    sight: Sight,
    *,
    size_px: int,
    nose: NDArray[np.float64],
    by_glasses: NDArray[np.float32] | None,
) -> float:
    """Part of the region between the lids (see `mggr_tf.drawn_eyes.lids`) that is hidden.

    Args:
        outline: [16, 2] pixels, see `lid_region.OUTLINE_POINTS`.
        sight: of the picture.
        size_px: its side.
        nose: [2, 2] as of `flow.Head`.
        by_glasses: [size, size] in [0, 1]; None without any.
    """
    region = np.zeros((size_px, size_px), np.uint8)
    corners = np.round(lid_region(outline) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(region, [corners], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    hidden = np.zeros((size_px, size_px), np.float32) if by_glasses is None else by_glasses
    _hide_behind_nose(region, sight, nose, hidden)
    return float(hidden[region > 0].mean()) if region.any() else 0.0


@compiled
def _hide_behind_nose(
    region: np.ndarray, sight: Sight, nose: np.ndarray, hidden: np.ndarray
) -> None:
    for row in range(region.shape[0]):
        for column in range(region.shape[1]):
            if region[row, column]:
                x = (column - sight.eye_x) / sight.px_per_mm
                y = (sight.eye_y - row) / sight.px_per_mm
                if beyond_nose(nose, x, y) > 0:
                    hidden[row, column] = 1.0
