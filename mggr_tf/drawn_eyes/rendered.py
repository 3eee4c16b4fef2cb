"""A rendered eye: pictures, labels, and the state of the eye."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import mirror_image
from mggr_edge.vision.iris import Eye
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.flow import DrawnFrame, Sight, beyond_nose
from mggr_tf.drawn_eyes.lids import lid_region
from mggr_tf.drawn_eyes.subject import Subject

LANDMARKS = ("iris", "eyeball", "outer corner", "inner corner", "upper lid", "lower lid")
"""Points of an eye that a renderer knows; the lids' are the middles of their margins."""

_OUTER, _UPPER_MIDDLE, _INNER, _LOWER_MIDDLE = 0, 12, 24, 36
"""Where these lie in the outline."""

_SIXTEEN = (0, *range(45, 24, -3), 24, *range(21, 0, -3))
"""Places in the outline of the points that `lid_region.OUTLINE_POINTS` names."""


def sixteen_points(outline: NDArray[np.float32]) -> NDArray[np.float32]:
    """[16, 2] of an outline [48, 2], in the order of `lid_region.OUTLINE_POINTS`."""
    return outline[list(_SIXTEEN)]


class Ellipse(NamedTuple):
    """An ellipse in a picture.

    Attributes:
        centre: (x, y) pixels.
        major_px, minor_px: half axes.
        angle_deg: of the major axis, from the image's right towards its bottom, in [0, 180).
    """

    centre: tuple[float, float]
    major_px: float
    minor_px: float
    angle_deg: float


@dataclass(frozen=True, eq=False)
class RenderedEye:
    """A patch and what is known of it. Points are patch pixels (x, y), as drawn in `image`.

    Attributes:
        image: [size, size, 3] uint8 RGB, as photographed: nothing mirrored.
        subject: who.
        gaze: relative to the camera.
        head_pose: relative to the camera.
        roll_deg: by which the head leans; + lowers the image's right.
        side: the subject's own.
        closure: 0 open, 1 closed.
        outline: [N, 2] corners and lids at this gaze.
        iris: its rim as it appears, hidden or not.
        eyeball_centre: where the eyeball's centre is.
        eyeball_radius_px: its radius.
        openness: largest gap between the lids as a share of the corners' distance, in the face
            (`eye_state` measures it in the picture).
        occlusion: part of the region between the lids (see `lid_region`) that glasses or the nose
            hide.
        moment: geometry of the eye as drawn before any mirroring, in patch pixels: what
            `flow_between` and `label_eye` read.
    """

    image: NDArray[np.uint8]
    subject: Subject
    gaze: Gaze
    head_pose: Gaze
    roll_deg: float
    side: Side
    closure: float
    outline: NDArray[np.float32]
    iris: Ellipse
    eyeball_centre: tuple[float, float]
    eyeball_radius_px: float
    openness: float
    occlusion: float
    moment: DrawnFrame

    def landmarks(self) -> NDArray[np.float32]:
        """[6, 2] the points of `LANDMARKS` in the picture, seen or hidden."""
        lids = self.outline[[_OUTER, _INNER, _UPPER_MIDDLE, _LOWER_MIDDLE]]
        centres = np.array([self.iris.centre, self.eyeball_centre], np.float32)
        return np.concatenate([centres, lids])

    def lid_region(self) -> NDArray[np.float32]:
        """[16, 2] a polygon, see `mggr_tf.drawn_eyes.lids`."""
        return lid_region(sixteen_points(self.outline))

    def mirrored(self) -> RenderedEye:
        """The picture in a mirror: the eye of the other side."""
        last = self.image.shape[1] - 1
        outline = self.outline.copy()
        outline[:, 0] = last - outline[:, 0]
        return dataclasses.replace(
            self,
            image=mirror_image(self.image),
            gaze=self.gaze.mirrored(),
            head_pose=self.head_pose.mirrored(),
            roll_deg=-self.roll_deg,
            side="left" if self.side == "right" else "right",
            outline=outline,
            iris=self.iris._replace(
                centre=(last - self.iris.centre[0], self.iris.centre[1]),
                angle_deg=-self.iris.angle_deg % 180,
            ),
            eyeball_centre=(last - self.eyeball_centre[0], self.eyeball_centre[1]),
        )


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
