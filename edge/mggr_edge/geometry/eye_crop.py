"""Cut eye crops from frames; a crop is a square that is resampled to the networks' input patch.

The centre of the square is the centre of the smallest circle that encloses the eye's outline. By
default, the side of the square is 3.4 times the radius R of this circle. The square is rotated so
that the line between the eye's corners is horizontal in the patch. A 2x3 similarity matrix maps
frame points to patch points. The inverse matrix maps patch points to frame points. Points are
(x, y), and pixel centres are at integer coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Gaze, Side

DEFAULT_CROP_FACTOR = 3.4
"""Side of the crop divided by the radius of the smallest circle around the eye's outline."""
DEFAULT_SIZE_PX = 64
"""Side of the square patch in pixels."""


_LARGEST_WARP_PX = 1 << 13
"""Side in pixels of the largest square that is warped in one step. Such a square needs 200 MB."""


@dataclass(frozen=True)
class EyeCrop:
    """A square region of a frame.

    Attributes:
        centre: centre (x, y) of the square in frame pixels.
        width_px: side of the square in frame pixels.
        roll_deg: angle in degrees of the square's x axis in the frame. A positive angle means that
            the axis is turned clockwise.
        size_px: side in pixels of the patch to which the square is resampled.
    """

    centre: tuple[float, float]
    width_px: float
    roll_deg: float
    size_px: int = DEFAULT_SIZE_PX

    def eye_from_frame(self, size_px: int | None = None) -> NDArray[np.float64]:
        """Return the 2x3 matrix that maps frame points to points of a patch.

        Args:
            size_px: side of the patch in pixels. With `None`, the `size_px` of the crop is used.
        """
        size = self.size_px if size_px is None else size_px
        scale, roll, middle = size / self.width_px, math.radians(self.roll_deg), (size - 1) / 2
        a, b = scale * math.cos(roll), scale * math.sin(roll)
        x, y = self.centre
        return np.array([[a, b, middle - a * x - b * y], [-b, a, middle + b * x - a * y]])

    def frame_from_eye(self, size_px: int | None = None) -> NDArray[np.float64]:
        """Return the 2x3 matrix that maps patch points to frame points.

        This is the inverse of `eye_from_frame` with the same `size_px`.
        """
        return cv2.invertAffineTransform(self.eye_from_frame(size_px))


def crop_of_eye(
    outline: ArrayLike,
    *,
    corners: ArrayLike,
    side: Side | None = None,
    crop_factor: float = DEFAULT_CROP_FACTOR,
    size_px: int = DEFAULT_SIZE_PX,
) -> EyeCrop:
    """Return the crop around an eye.

    Args:
        outline: [N, 2] frame points on the eye's corners and lids.
        corners: [2, 2] frame points of the eye's outer and inner corner. Without `side`, the order
            does not matter.
        side: the side of the eye from the subject's point of view. With `side`, the eye is upright
            in the patch at any roll of the head. With `None`, the corner that is further left in
            the frame becomes the left corner in the patch. In this case, if the head is rolled by
            more than 90 degrees, the eye is upside down.
        crop_factor: side of the square divided by the radius of the enclosing circle.
        size_px: side of the patch in pixels.

    Raises:
        ValueError: all points of the outline are equal, or a point is not finite.
    """
    points = np.asarray(outline, np.float32)
    if not np.isfinite(points).all():
        raise ValueError("the eye's outline is not finite")
    centre, radius = cv2.minEnclosingCircle(points)
    if radius < 1e-3:
        raise ValueError("the eye's outline has no size, because all its points are equal")
    first, second = np.asarray(corners, np.float64)
    # In the image of an upright face, the left corner of the right eye is its outer corner, and the
    # left corner of the left eye is its inner corner.
    swap = first[0] > second[0] if side is None else side == "left"
    if swap:
        first, second = second, first
    dx, dy = second - first
    return EyeCrop(
        centre=(float(centre[0]), float(centre[1])),
        width_px=crop_factor * float(radius),
        roll_deg=float(np.degrees(np.arctan2(dy, dx))),
        size_px=size_px,
    )


def crop_patch(frame: NDArray[np.uint8], crop: EyeCrop) -> NDArray[np.uint8]:
    """Resample the crop's square to a patch; outside the frame, the border pixels are repeated.

    If the square is at least twice as wide as the patch, several pixels are averaged. This prevents
    aliasing in sharp photographs.

    Args:
        frame: [H, W, 3] uint8 frame.
        crop: the square to resample.

    Returns:
        [size, size, 3] uint8 patch, where size is `crop.size_px`.
    """
    left, top, right, bottom = _bounds(crop, frame)
    part = frame[top:bottom, left:right]
    x, y, scale = crop.centre[0] - left, crop.centre[1] - top, 1
    # Halve the size by exact averages, because OpenCV cannot warp images wider than 32766 pixels.
    while max(*part.shape[:2], crop.width_px / scale) > _LARGEST_WARP_PX:
        part, scale = _halved(part), 2 * scale
    here = EyeCrop(
        centre=((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5),
        width_px=crop.width_px / scale,
        roll_deg=crop.roll_deg,
        size_px=crop.size_px,
    )
    oversampling = max(1, int(here.width_px // here.size_px))
    fine = here.size_px * oversampling
    patch = cv2.warpAffine(
        part,
        here.eye_from_frame(fine),
        (fine, fine),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if oversampling == 1:
        return patch
    return cv2.resize(patch, (crop.size_px, crop.size_px), interpolation=cv2.INTER_AREA)


def _bounds(crop: EyeCrop, frame: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the bounds (left, top, right, bottom) of the frame region that the crop needs.

    The right and bottom bounds are exclusive. The region has at least one pixel. If the square is
    outside the frame, the region consists of the nearest border pixels.
    """
    corner = np.array([-1.0, crop.size_px])
    corners = np.stack(np.meshgrid(corner, corner), axis=-1).reshape(-1, 2)
    frame_from_eye = crop.frame_from_eye()
    points = corners @ frame_from_eye[:, :2].T + frame_from_eye[:, 2]
    last = np.array([frame.shape[1] - 1, frame.shape[0] - 1])
    first = np.clip(np.floor(points.min(axis=0)) - 1, 0, last).astype(int)
    end = np.clip(np.ceil(points.max(axis=0)) + 1, 0, last).astype(int) + 1
    return (*first.tolist(), *end.tolist())


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce an image [H, W, C] to [ceil(H / 2), ceil(W / 2), C] by averaging 2 x 2 pixels.

    If the height or width is odd, the last row or column is repeated.
    """
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    size = even.shape[1] // 2, even.shape[0] // 2
    return cv2.resize(even, size, interpolation=cv2.INTER_AREA)


def mirror_image(image: NDArray) -> NDArray:
    """Flip an image [..., H, W, C] left to right."""
    return np.ascontiguousarray(image[..., ::-1, :])


def mirror_flow(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flip a flow field [..., H, W, 2] left to right, and change the sign of dx."""
    mirrored = mirror_image(flow).copy()
    mirrored[..., 0] *= -1
    return mirrored


def needs_mirror(side: Side, canonical_side: Side) -> bool:
    """Return whether an eye must be mirrored because its side is not `canonical_side`.

    The networks were trained on eyes of the side `canonical_side`.
    """
    return side != canonical_side


def mirrored_if(gaze: Gaze, *, mirror: bool) -> Gaze:
    """Return a gaze in the axes of its patch, which may be mirrored.

    Args:
        gaze: gaze in the axes of the patch before mirroring.
        mirror: whether the patch was mirrored. If false, the gaze is returned unchanged.
    """
    return gaze.mirrored() if mirror else gaze
