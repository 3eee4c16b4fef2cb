"""Align the target of a pair with its source on the skin around the eye (image registration).

Patches of a data set are often cropped one by one, and each crop follows its eye. A target then
differs from its source not only in the gaze, but also in the position of the crop. A device puts
the redirected patch back at the place of the source, so this difference should not count. The skin
around the eye shows how the crop moved. The registration finds the affine transform that maximises
the enhanced correlation coefficient of the skin [1].

References:
    [1] Evangelidis, Psarakis, Parametric Image Alignment Using Enhanced Correlation Coefficient
        Maximization, TPAMI 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_EYE = (0.40, 0.22)
"""Half axes of the ellipse that the registration ignores. The unit is the patch width."""
_BLUR_PX = 5
_STEPS, _CHANGE = 100, 1e-5
_LEAST_CORRELATION = 0.8
"""With a lower correlation, the skin of both patches differs by more than its position."""
_FURTHEST = 0.12
"""Largest plausible shift of a crop. The unit is the patch width."""
_LARGEST_STRAIN = 0.12
"""Largest plausible change of a length or an angle (in radians) between two crops."""
_SHOWN = 0.999


class Aligned(NamedTuple):
    """Aligned targets.

    Attributes:
        images: [P, H, W, 3] uint8. Pixels that the target does not show are those of the source.
        known: [P] bool, whether the registration succeeded. Otherwise, the image is the target
            without alignment.
        shift_px: [P, 2] motion (x, y) of the skin from source to target, at the centre of the
            patch. The value is 0 if the registration failed.
    """

    images: NDArray[np.uint8]
    known: NDArray[np.bool_]
    shift_px: NDArray[np.float64]


def align(
    images: NDArray[np.uint8],
    pairs: NDArray[np.int64],
    *,
    advance: Callable[[int], None] = lambda n: None,
) -> Aligned:
    """Align the target of every pair with its source.

    Args:
        images: [N, H, W, 3] uint8 patches.
        pairs: [P, 2] indices into `images`, (source, target). Both patches of a pair show the same
            person and head pose.
        advance: callback for the progress bar. `advance(1)` is called after each pair.
    """
    height, width = images.shape[1:3]
    aligned = images[pairs[:, 1]]
    known = np.zeros(len(pairs), np.bool_)
    shift_px = np.zeros((len(pairs), 2))
    skin = _skin(height, width)
    for row, (source, target) in enumerate(images[pair] for pair in pairs):
        place = _transform(source, target, skin)
        if place is not None:
            known[row] = True
            shift_px[row] = _shift(place, (height, width))
            aligned[row] = _moved(source, target, place)
        advance(1)
    return Aligned(aligned, known, shift_px)


def _skin(height: int, width: int) -> NDArray[np.uint8]:
    mask = np.full((height, width), 255, np.uint8)
    centre = (round((width - 1) / 2), round((height - 1) / 2))
    axes = (round(_EYE[0] * width), round(_EYE[1] * width))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 0, thickness=-1)
    return mask


def _transform(
    source: NDArray[np.uint8], target: NDArray[np.uint8], skin: NDArray[np.uint8]
) -> NDArray[np.float64] | None:
    """Return the [2, 3] map from pixels of the source to pixels of the target, if it is certain."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (source, target)]
    place = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, _CHANGE)
    try:
        correlation, place = cv2.findTransformECC(
            grey[0], grey[1], place, cv2.MOTION_AFFINE, criteria, skin, _BLUR_PX
        )
    except cv2.error:  # The iterations did not converge.
        return None
    place = place.astype(np.float64)
    is_plausible = (
        correlation >= _LEAST_CORRELATION
        and np.abs(place[:, :2] - np.eye(2)).max() <= _LARGEST_STRAIN
        and np.abs(_shift(place, skin.shape)).max() <= _FURTHEST * skin.shape[1]
    )
    return place if is_plausible else None


def _shift(place: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the motion (x, y) of the centre of a patch of `size` (height, width), in pixels."""
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2, 1.0])
    moved: NDArray[np.float64] = place @ middle - middle[:2]
    return moved


def _moved(
    source: NDArray[np.uint8], target: NDArray[np.uint8], place: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return the target at the place of the source; unknown pixels are those of the source."""
    size = source.shape[1], source.shape[0]
    whole = np.ones(source.shape[:2], np.float32)
    inverse = cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        target, place, size, flags=cv2.INTER_LANCZOS4 | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    shown = cv2.warpAffine(whole, place, size, flags=cv2.INTER_LINEAR | inverse)
    return np.where(shown[..., None] > _SHOWN, moved, source).astype(np.uint8)
