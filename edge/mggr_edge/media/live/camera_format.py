"""How a live source's pictures are wanted: size, rate, and which way up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Flip = Literal["none", "rotate-90", "rotate-180", "rotate-270", "horizontal", "vertical"]
"""What is done to a picture; turns are clockwise, `horizontal` swaps left and right."""

FLIPS: tuple[str, ...] = get_args(Flip)

_ROTATIONS = {
    "rotate-90": cv2.ROTATE_90_CLOCKWISE,
    "rotate-180": cv2.ROTATE_180,
    "rotate-270": cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORS = {"horizontal": 1, "vertical": 0}


@dataclass(frozen=True)
class PictureFormat:
    """What is asked of a camera; None leaves it to the camera.

    Attributes:
        width, height: in pixels, before it is turned.
        rate: frames per second.
        flip: see `Flip`.
    """

    width: int | None = None
    height: int | None = None
    rate: int | None = None
    flip: Flip = "none"

    @property
    def is_asked_for(self) -> bool:
        """Whether the camera itself is asked for anything."""
        return (self.width, self.height, self.rate) != (None, None, None)

    def filled(self, default: PictureFormat) -> PictureFormat:
        """With a default in place of what is not said."""
        return PictureFormat(
            self.width or default.width,
            self.height or default.height,
            self.rate or default.rate,
            self.flip,
        )


AS_IT_COMES = PictureFormat()
"""Nothing is asked for, nothing is turned."""


def flipped(rgb: NDArray[np.uint8], flip: Flip) -> NDArray[np.uint8]:
    """A picture [H, W, 3] turned or mirrored."""
    if flip in _ROTATIONS:
        return np.asarray(cv2.rotate(rgb, _ROTATIONS[flip]), np.uint8)
    if flip in _MIRRORS:
        return np.asarray(cv2.flip(rgb, _MIRRORS[flip]), np.uint8)
    return rgb
