"""Whether what lies between the lids is like an eye, or like what may lie before one: a hand, hair.

Landmark models say where an eye should be even if they do not see it. An eye has an iris that is
darker than the white beside it, and most of it has not the colour of the skin round it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

_ALIKE_AB, _ALIKE_L = 6.0, 18.0
"""What differs from the skin by less, in CIELAB, may be skin."""

_ONLY_IRIS, _ONLY_WHITE = 0.85, 1.15
"""Inside and outside of the iris' edge, in its radii."""

_ALIKE_SHARE, _PER_SHARE = 0.5, 1.5
"""So much of an eye may look like skin, in a picture of little colour; what is more counts."""

_FEWEST_PX = 8
_UNKNOWN_CONTRAST = 0.15

_BEYOND_LIDS = np.ones((9, 9), np.uint8), np.ones((19, 19), np.uint8)
"""Lids are left out; what surrounds them is skin."""


def likeness(
    patch: NDArray[np.uint8],
    opening: NDArray[np.uint8],
    *,
    iris_centre: ArrayLike,
    iris_radius_px: float,
) -> float:
    """How much darker than the white the iris is, less what too much of it looks like skin.

    On 1500 labelled patches of 27 people it is below 0 on 2.4 %, mirroring glasses most of them;
    with fingers drawn over them, on 91 %; with pieces of other photographs, on 78 %; with half of
    the eye covered, on 13 % only.

    Args:
        patch: [S, S, 3] uint8 RGB.
        opening: [S, S] uint8, 1 between the lids, of 10 pixels at least.
        iris_centre: (x, y) in the patch.
        iris_radius_px: in the patch.

    Returns:
        at most 1; negative for an iris that is no darker than the white.
    """
    around = (cv2.dilate(opening, _BEYOND_LIDS[1]) > 0) & (
        cv2.dilate(opening, _BEYOND_LIDS[0]) == 0
    )
    if not around.any():
        return 0.0
    lab = cv2.cvtColor(patch, cv2.COLOR_RGB2Lab).astype(np.float32)
    lab[..., 0] *= 100 / 255
    skin = np.median(lab[around], axis=0)
    between = opening > 0
    off = np.abs(lab[between] - skin)
    is_skin = (np.hypot(off[:, 1], off[:, 2]) < _ALIKE_AB) & (off[:, 0] < _ALIKE_L)
    too_much = max(0.0, float(is_skin.mean()) - _ALIKE_SHARE)
    contrast = _contrast(lab[..., 0], between, np.asarray(iris_centre), iris_radius_px)
    return contrast - _PER_SHARE * too_much


def _contrast(
    lightness: NDArray[np.float32],
    between: NDArray[np.bool_],
    centre: NDArray[np.float64],
    radius_px: float,
) -> float:
    """1 - lightness of the iris over that of the white."""
    y, x = np.ogrid[: between.shape[0], : between.shape[1]]
    away = np.hypot(x - centre[0], y - centre[1]) / max(radius_px, 1.0)
    iris, white = between & (away < _ONLY_IRIS), between & (away > _ONLY_WHITE)
    if np.count_nonzero(iris) < _FEWEST_PX or np.count_nonzero(white) < _FEWEST_PX:
        return _UNKNOWN_CONTRAST
    return 1.0 - float(lightness[iris].mean() / max(lightness[white].mean(), 1.0))
