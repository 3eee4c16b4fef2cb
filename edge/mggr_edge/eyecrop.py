"""The eye crop: which square of a frame the network sees, and the way back.

The square is 3.4 R wide around the minimal enclosing circle (centre, R) of the
eye's outline, rotated so that the corners are level. Crop and paste-back are
one 2x3 similarity and its inverse. Points are (x, y) with pixel centres at
whole numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.angles import Gaze, Side
from mggr_edge.contract import DEFAULT_CROP_FACTOR, DEFAULT_SIZE_PX


@dataclass(frozen=True)
class EyeCrop:
    """A square region of a frame.

    Attributes:
        centre: (x, y) in frame pixels.
        width_px: side of the square in frame pixels.
        roll_deg: angle of the square's x axis in the frame, + clockwise as seen.
        size_px: side of the patch it is resampled to.
    """

    centre: tuple[float, float]
    width_px: float
    roll_deg: float
    size_px: int = DEFAULT_SIZE_PX

    def eye_from_frame(self, size_px: int | None = None) -> NDArray[np.float64]:
        """The 2x3 that maps frame points to points of a patch `size_px` wide."""
        size = self.size_px if size_px is None else size_px
        scale, roll, middle = size / self.width_px, math.radians(self.roll_deg), (size - 1) / 2
        a, b = scale * math.cos(roll), scale * math.sin(roll)
        x, y = self.centre
        return np.array([[a, b, middle - a * x - b * y], [-b, a, middle + b * x - a * y]])

    def frame_from_eye(self, size_px: int | None = None) -> NDArray[np.float64]:
        """The inverse of `eye_from_frame`."""
        return cv2.invertAffineTransform(self.eye_from_frame(size_px))


def crop_of_eye(
    outline: ArrayLike,
    *,
    corners: ArrayLike,
    side: Side | None = None,
    crop_factor: float = DEFAULT_CROP_FACTOR,
    size_px: int = DEFAULT_SIZE_PX,
) -> EyeCrop:
    """Lays the crop around an eye.

    Args:
        outline: [N, 2] frame points on the corners and lids.
        corners: [2, 2] the eye's outer and inner corner; in either order without `side`.
        side: the subject's own; the patch is then upright in the head at any roll. Without it
            the corner further left in the frame is the patch's left one, so a head that is
            rolled by more than 90 degrees stands on its head in the patch.
        crop_factor: side of the square in enclosing-circle radii.
        size_px: side of the patch.

    Raises:
        ValueError: the outline has no extent or is not finite.
    """
    points = np.asarray(outline, np.float32)
    if not np.isfinite(points).all():
        raise ValueError("the eye's outline is not finite")
    centre, radius = cv2.minEnclosingCircle(points)
    if radius < 1e-3:
        raise ValueError("the eye's outline has no extent")
    first, second = np.asarray(corners, np.float64)
    # In an upright face the right eye's outer corner is on the left, the left eye's inner one.
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
    """Resamples the crop's square, borders repeated.

    Large eyes are averaged down rather than sampled, so that a sharp photograph
    does not alias.

    Args:
        frame: [H, W, 3] uint8.

    Returns:
        [size, size, 3] uint8.
    """
    oversampling = max(1, int(crop.width_px // crop.size_px))
    fine = crop.size_px * oversampling
    patch = cv2.warpAffine(
        frame,
        crop.eye_from_frame(fine),
        (fine, fine),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if oversampling == 1:
        return patch
    return cv2.resize(patch, (crop.size_px, crop.size_px), interpolation=cv2.INTER_AREA)


def mirror_image(image: NDArray) -> NDArray:
    """Flips [..., H, W, C] left to right."""
    return np.ascontiguousarray(image[..., ::-1, :])


def mirror_flow(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flips a flow field [..., H, W, 2] left to right: places move and dx turns round."""
    mirrored = mirror_image(flow).copy()
    mirrored[..., 0] *= -1
    return mirrored


def needs_mirror(side: Side, canonical_side: Side) -> bool:
    """Whether an eye of `side` must be mirrored for a network that knows one side only."""
    return side != canonical_side


def mirrored_if(gaze: Gaze, *, mirror: bool) -> Gaze:
    """The gaze as it looks in the (perhaps) mirrored patch."""
    return gaze.mirrored() if mirror else gaze
