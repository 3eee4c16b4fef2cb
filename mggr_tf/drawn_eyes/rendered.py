"""A rendered eye: its image, its labels and its eye state.

A patch is a small image of one eye. Coordinates are defined in `face_geometry`.
"""

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
from mggr_tf.drawn_eyes.subject import Subject

LANDMARKS = ("iris", "eyeball", "outer corner", "inner corner", "upper lid", "lower lid")
"""Names of the labelled points of a rendered eye.

The margin of a lid is its edge at the eye opening. The labelled point of a lid is the middle of
this margin.
"""

_OUTER, _UPPER_MIDDLE, _INNER, _LOWER_MIDDLE = 0, 12, 24, 36
"""Indices of four points in the outline: both corners, and the middles of both lid margins."""

LEAST_OPENNESS = 0.16
"""Minimum height of the region between the lids, divided by the distance between the corners."""

OUTLINE_POINTS = 16
"""Number of points in an outline of the lids, and in a region between the lids.

The points have the same order as in `mggr_edge.vision.iris.Eye.outline`. The first point is the
outer corner. The next points are 7 points of the lower lid, the inner corner, and 7 points of the
upper lid.
"""

USUAL_REGION: tuple[tuple[float, float], ...] = (
    *((6, 33), (8, 34), (13, 35), (21, 37), (30, 38), (39, 38), (47, 37), (52, 37)),
    *((54, 36), (52, 34), (47, 30), (39, 25), (30, 23), (21, 25), (13, 28), (8, 31)),
)
"""Mean region between the lids of synthetic eyes, for patches of 64 x 64 pixels.

Use this region for a patch whose own region is unknown. The eye must be of the canonical side. The
mean difference from the real regions is only about 3 pixels, because each patch is cropped around
its eye.
"""

_HALF = OUTLINE_POINTS // 2
_LOWER = slice(1, _HALF)
_UPPER = slice(OUTLINE_POINTS - 1, _HALF, -1)
_PROFILE = np.sin(np.pi * np.arange(1, _HALF) / _HALF)
"""Minimum height of the region from the outer to the inner corner, relative to its maximum."""


_SIXTEEN = (0, *range(45, 24, -3), 24, *range(21, 0, -3))
"""Indices of 16 points in an outline of 48 points, in the order of `OUTLINE_POINTS`."""


def sixteen_points(outline: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 16 points, [16, 2], of an outline [48, 2], in the order of `OUTLINE_POINTS`."""
    return outline[list(_SIXTEEN)]


class Ellipse(NamedTuple):
    """Ellipse in an image.

    Attributes:
        centre: position (x, y) of the centre, pixels.
        major_px: major half axis, pixels.
        minor_px: minor half axis, pixels.
        angle_deg: angle of the major axis, degrees, in [0, 180). At 0, the axis points to the right
            of the image. At 90, it points down.
    """

    centre: tuple[float, float]
    major_px: float
    minor_px: float
    angle_deg: float


@dataclass(frozen=True, eq=False)
class RenderedEye:
    """Rendered patch and its labels. Points are positions (x, y) in pixels of `image`.

    Attributes:
        image: [size, size, 3] uint8 RGB, as recorded by a camera. The image is not mirrored.
        subject: person, illumination and camera.
        gaze: gaze relative to the camera.
        head_pose: head pose relative to the camera.
        roll_deg: roll of the head, degrees. A positive roll lowers the right side of the image.
        side: side of the eye, as seen by the subject.
        closure: closure of the lids. 0 means open, 1 means closed.
        outline: [N, 2] points of both lid margins, including the corners of the eye.
        iris: rim of the iris in the image, including hidden parts of the rim.
        eyeball_centre: position (x, y) of the eyeball's centre.
        eyeball_radius_px: radius of the eyeball, pixels.
        openness: largest distance between the lids, divided by the distance between the corners.
            Both distances are measured on the face. `eye_state` measures them in the image.
        occlusion: fraction of the region between the lids (see `lid_region`) that glasses or
            the nose hide.
        moment: geometry of the eye in patch pixels. For a left eye, this is the geometry before
            mirroring. `flow_between` and `label_eye` use this geometry.
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
        """Return the positions of the `LANDMARKS`, [6, 2], pixels. Some points may be hidden."""
        lids = self.outline[[_OUTER, _INNER, _UPPER_MIDDLE, _LOWER_MIDDLE]]
        centres = np.array([self.iris.centre, self.eyeball_centre], np.float32)
        return np.concatenate([centres, lids])

    def lid_region(self) -> NDArray[np.float32]:
        """Return the region between the lids as a polygon [16, 2]; see `lid_region`."""
        return lid_region(sixteen_points(self.outline))

    def mirrored(self) -> RenderedEye:
        """Return the mirrored image and labels, which belong to an eye of the opposite side."""
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
    """Return the eye state [3] in the image: `openness`, `iris_visible` and `occlusion`.

    As on a device, the openness is measured in the image. If the head is turned sideways, the
    distance between the corners is smaller in the image, so the openness is larger. In contrast,
    `RenderedEye.openness` is measured on the face.
    """
    seen = Eye(eye.side, sixteen_points(eye.outline), eye.iris.centre, eye.iris.major_px)
    openness = min(seen.openness, 1.0)
    return np.array([openness, iris_visible(eye.iris, eye.outline), eye.occlusion], np.float32)


def iris_visible(iris: Ellipse, outline: NDArray[np.float32]) -> float:
    """Return the fraction of the iris ellipse that lies inside the outline [N, 2].

    The error of the result is about 0.01.
    """
    number = np.arange(_POINTS) + 0.5
    # The code distributes points evenly over a disc, like the seeds of a sunflower. It then counts
    # the points inside the outline.
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
    """Return whether each of P points lies inside a closed polygon [N, 2], as bool [P].

    The function counts the edges of the polygon to the right of a point. The point is inside if
    this number is odd.
    """
    x1, y1 = polygon.T
    x2, y2 = np.roll(polygon, -1, axis=0).T
    crosses = (y1 <= y[:, None]) != (y2 <= y[:, None])
    slope = (x2 - x1) / np.where(y1 == y2, 1, y2 - y1)
    to_the_right = x[:, None] < x1 + slope * (y[:, None] - y1)
    inside: NDArray[np.bool_] = np.count_nonzero(crosses & to_the_right, axis=1) % 2 == 1
    return inside


def lid_region(outline: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the region between the lids for the outline of an eye.

    A closed eye has no area between its lids. Therefore the region has a minimum height
    (`LEAST_OPENNESS`) around the line where the lids meet.

    The patch must be level, so that the corners of the eye lie beside each other.

    Args:
        outline: [..., 16, 2] points (x, y) in pixels; see `OUTLINE_POINTS`. The eye may be of
            either side. Unknown points are NaN.

    Returns:
        [..., 16, 2] float32 points in pixels. They form a closed polygon in the same order.
    """
    points = np.asarray(outline, np.float64)
    along = points[..., _HALF, :] - points[..., 0, :]
    width = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)  # [..., 1]
    down = np.stack([-along[..., 1], along[..., 0]], -1)[..., None, :] / width[..., None]
    down = np.where(down[..., 1:] < 0, -down, down)
    upper, lower = points[..., _UPPER, :], points[..., _LOWER, :]
    gap = np.sum((lower - upper) * down, axis=-1)  # [..., 7]
    missing = np.maximum(LEAST_OPENNESS * width * _PROFILE - gap, 0)[..., None] / 2 * down
    region = points.copy()
    region[..., _UPPER, :] = upper - missing
    region[..., _LOWER, :] = lower + missing
    return region.astype(np.float32)


_SUBPIXEL_BITS = 4


def hidden_share(
    outline: NDArray[np.floating],
    sight: Sight,
    *,
    size_px: int,
    nose: NDArray[np.float64],
    by_glasses: NDArray[np.float32] | None,
) -> float:
    """Return the hidden fraction of the region between the lids (see `lid_region`).

    Args:
        outline: [16, 2] points of the lids in pixels; see `OUTLINE_POINTS`.
        sight: position and scale of camera coordinates in the image.
        size_px: width and height of the image, pixels.
        nose: [2, 2] points on the ridge of the nose; see `flow.Head`.
        by_glasses: [size, size] occlusion by glasses in [0, 1]. The function changes this array.
            `None` for a person without glasses.
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
