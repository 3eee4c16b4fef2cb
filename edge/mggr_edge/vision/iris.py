"""The eye's outline and iris: MediaPipe's iris model [1] on a levelled square.

The model knows the eye that is seen on the image's left, the subject's right
one; the other is mirrored on the way in and its points on the way out.

Its outline hugs the lids better than the face mesh does. But its inner corner
is the far end of the tear duct, further inwards and lower than the landmark by
which training patches were cut. A crop laid around the outline as it is shows a
straight gaze further outwards than a training patch does, and an estimator then
has the two eyes look apart; `Eye.crop_corners` takes that back.

References:
    [1] Ablavatski et al., Real-time Pupil Tracking from Monocular Video for
        Digital Puppetry, 2020. Model: MediaPipe, Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Side
from mggr_edge.geometry.eye_crop import EyeCrop, crop_patch, mirror_image
from mggr_edge.models.runtimes import Runner

_INPUT, _CONTOURS, _IRIS = "input_1", "output_eyes_contours_and_brows", "output_iris"
_SIZE_PX = 64
_NATIVE_SIDE: Side = "right"
_REGION_FACTOR = 2.3
"""Side of the square in distances between the eye's corners."""

# The first 16 of the 71 contour points: the lower lid from the outer corner to
# the inner one (9 points), then the upper lid between them, outer end first (7).
_OUTLINE = (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10, 9)
_OUTER_CORNER, _INNER_CORNER = 0, 8
_LOWER_LID = slice(1, 8)
_UPPER_LID = slice(15, 8, -1)

# Lids as six common landmarks have them: a third and two thirds of the way.
_CROP_LIDS = (3, 5, 11, 13)

# What brings the inner corner onto the landmark of training patches: (inwards, up in
# the face), in widths of the eye. Fitted by hand on a few people's eyes, until the
# iris model said the same of our crops as of frontal training patches. No command
# repeats that fit yet; a shift a quarter smaller would serve about as well.
_INNER_CORNER_SHIFT = (-0.11, 0.07)


@dataclass(frozen=True)
class Eye:
    """One eye of a face, in frame pixels.

    Attributes:
        side: the subject's own side.
        outline: [16, 2] float32, a closed polygon of corners and lids: outer
            corner, lower lid, inner corner, upper lid and back.
        iris_centre: (x, y).
        iris_radius_px: mean distance of the iris' edge from its centre.
    """

    side: Side
    outline: NDArray[np.float32]
    iris_centre: tuple[float, float]
    iris_radius_px: float

    @cached_property
    def corners(self) -> NDArray[np.float32]:
        """[2, 2] outer and inner corner of the outline."""
        return self.outline[[_OUTER_CORNER, _INNER_CORNER]]

    @cached_property
    def crop_corners(self) -> NDArray[np.float32]:
        """[2, 2] outer and inner corner as the landmarks of training patches have them."""
        outer, inner = self.corners
        x, y = inner - outer
        up = np.array([y, -x] if self.side == "right" else [-y, x], np.float32)
        inwards_share, up_share = _INNER_CORNER_SHIFT
        return np.stack([outer, inner + inwards_share * (inner - outer) + up_share * up])

    @cached_property
    def crop_outline(self) -> NDArray[np.float32]:
        """[6, 2] what an eye crop is laid around: `crop_corners` and two points per lid."""
        return np.concatenate([self.crop_corners, self.outline[list(_CROP_LIDS)]])

    @cached_property
    def width_px(self) -> float:
        """Distance between the corners."""
        return float(np.linalg.norm(self.corners[1] - self.corners[0]))

    @cached_property
    def openness(self) -> float:
        """Greatest distance between the lids, as a share of the eye's width.

        About 0.25 to 0.4 for an open eye, below 0.1 for a closed one.
        """
        gaps = np.linalg.norm(self.outline[_UPPER_LID] - self.outline[_LOWER_LID], axis=-1)
        return float(gaps.max() / max(self.width_px, 1e-6))


class IrisFinder:
    """Finds outline and iris of an eye.

    Args:
        runner: the model `iris` of a bundle.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def find(self, frame: NDArray[np.uint8], *, side: Side, corners: ArrayLike) -> Eye:
        """Finds outline and iris.

        Args:
            frame: [H, W, 3] uint8 RGB.
            side: the subject's own side.
            corners: [2, 2] frame points, outer and inner corner, roughly.
        """
        region = _region(np.asarray(corners, np.float64), side)
        patch = crop_patch(frame, region)
        mirror = side != _NATIVE_SIDE
        if mirror:
            patch = mirror_image(patch)
        outputs = self._runner({_INPUT: patch[None].astype(np.float32) / 255.0})
        outline = _to_frame(outputs[_CONTOURS], region, mirror=mirror)[list(_OUTLINE)]
        iris = _to_frame(outputs[_IRIS], region, mirror=mirror)
        return Eye(
            side=side,
            outline=outline,
            iris_centre=(float(iris[0, 0]), float(iris[0, 1])),
            iris_radius_px=float(np.linalg.norm(iris[1:] - iris[0], axis=-1).mean()),
        )


def _region(corners: NDArray[np.float64], side: Side) -> EyeCrop:
    """The levelled square around an eye; upright in the head, so it may stand on its head."""
    outer, inner = corners
    # Along the image's x in an upright face: outer to inner on the right eye.
    dx, dy = (inner - outer) if side == "right" else (outer - inner)
    x, y = (outer + inner) / 2
    return EyeCrop(
        centre=(float(x), float(y)),
        width_px=_REGION_FACTOR * float(max(np.hypot(dx, dy), 1.0)),
        roll_deg=float(np.degrees(np.arctan2(dy, dx))),
        size_px=_SIZE_PX,
    )


def _to_frame(points: NDArray[np.float32], region: EyeCrop, *, mirror: bool) -> NDArray[np.float32]:
    """[1, 3 N] points (x, y, z) of the patch to [N, 2] frame pixels."""
    inside = points.reshape(-1, 3)[:, :2].astype(np.float64)
    if mirror:
        inside[:, 0] = region.size_px - 1 - inside[:, 0]
    frame_from_region = region.frame_from_eye()
    mapped = inside @ frame_from_region[:, :2].T + frame_from_region[:, 2]
    return mapped.astype(np.float32)
