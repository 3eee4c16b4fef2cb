"""A drawn patch and what is known of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import mirror_image
from mggr_tf.drawn_eyes.flow import Moment
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
    moment: Moment

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
