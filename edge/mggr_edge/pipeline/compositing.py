"""Write redirected eyes into a frame.

The network's flow and residual have 64 x 64 pixels, but the frame can have any size. A formula
gives the output for each frame pixel p near the eye. In this formula, e is the position of p in the
patch. L is the linear map from patch axes to frame axes.

    moved(p) = frame(p + s L f(e))
    out(p) = frame(p) + m(e) ((1 - s a(e)) moved(p) + s r(e) - frame(p))

So the frame is resampled only once, and lashes stay sharp. The opacity a is the fraction of the
moved frame that the residual r replaces, in [0, 1]. For redirectors without an opacity, a is 0. The
factor m is a soft mask of the eye opening. At some distance from the opening, the mask is exactly
0. The factor s is the strength, in [0, 1]. The strength scales the displacement of the iris. The
old and the new iris are never blended.

f, r and a are the network's flow, residual and opacity, relative to a face that does not move. If
the network shifts the whole face by d, this shift is removed:

    f(e) = flow(e - d) - d
    r(e) = residual(e - d)
    a(e) = alpha(e - d)

The network can learn the shift d from training crops that move with the lids. In a frame, only the
iris moves. Therefore `compose_eye` subtracts the flow of the skin around the eye (`skin_drift`).

The network was trained on colour photographs, so its residual has the colours of lids and skin.
Some photographs do not have these colours, because they are black and white, infrared or toned. In
such a photograph, the residual would add colour. `residual_in_colours_of` prevents this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.eye_crop import EyeCrop

_MASK_SIZE_PX = 128
"""Side in pixels of the square mask, which covers the square of the crop."""

_LIFT = 0.12
"""Height of the region above the upper lid in which the mask is 1, divided by the eye width. The
upper lid may move into this region."""

_GROW = 0.03
"""Distance from the eye opening up to which the mask is 1, divided by the eye width. The rim of the
lid and the lashes are within this distance."""

_FEATHER = 0.14
"""Distance over which the mask decreases from 1 to 0, divided by the eye width."""

_LEVELS_PER_UNIT = 127.5
"""Number of 8-bit grey levels per unit of the network's value range [-1, 1]."""


@dataclass(frozen=True)
class Region:
    """Rectangle of a frame: `frame[top:bottom, left:right]`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices (rows, columns) that select this rectangle in a frame."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class ComposedEye:
    """A redirected eye that can be written into its frame.

    Attributes:
        region: rectangle of the frame that the arrays cover.
        pixels: [h, w, 3] uint8 pixels of the result. Where `mask` is 0, they are equal to the
            frame.
        mask: [h, w] float32 mask in [0, 1]. The mask of an eye outside the frame has no elements.
        sampling: [h, w, 2] float32 frame positions (x, y) from which the pixels are sampled.
        residual: [h, w, 3] float32 grey levels. Where the mask is 1, these values are added to the
            sampled pixels. They include the removed fraction of the sampled pixels.
    """

    region: Region
    pixels: NDArray[np.uint8]
    mask: NDArray[np.float32]
    sampling: NDArray[np.float32]
    residual: NDArray[np.float32]


def compose_eye(
    frame: NDArray[np.uint8],
    *,
    crop: EyeCrop,
    opening: ArrayLike,
    flow: NDArray[np.float32],
    residual: NDArray[np.float32],
    alpha: NDArray[np.float32] | None = None,
    drift: tuple[float, float] = (0.0, 0.0),
    strength: float = 1.0,
) -> ComposedEye:
    """Redirect one eye of a frame; the frame is not modified.

    Args:
        frame: [H, W, 3] uint8 RGB frame.
        crop: square from which the network's input was cut.
        opening: [N, 2] frame points of a closed polygon along the lids and corners.
        flow: [h, w, 2] float32 backward flow (dx, dy) in patch pixels.
        residual: [h, w, 3] float32 residual. It is added to an image with values in [-1, 1].
        alpha: [h, w, 1] float32 opacity in [0, 1]: the fraction of the moved frame that the
            residual replaces. `None` means 0.
        drift: shift of the whole face in `flow`, as (dx, dy) in patch pixels. This shift is
            subtracted; see `skin_drift`.
        strength: fraction of the flow, the residual and the opacity that is applied, in [0, 1].
    """
    mask_patch = opening_mask(opening, crop)
    region = _region_of_mask(mask_patch, crop, frame)
    if region.left >= region.right or region.top >= region.bottom:
        here = frame[region.slices]
        mask, *fields = (np.zeros((*here.shape[:2], n), np.float32) for n in (1, 2, 3))
        return ComposedEye(region, here.copy(), mask[..., 0], *fields)
    size = flow.shape[0]
    mask = _sample(
        mask_patch, region, crop.eye_from_frame(_MASK_SIZE_PX), cv2.INTER_LINEAR, border=0.0
    )
    still = crop.eye_from_frame(size)
    still[:, 2] -= drift
    shift = _sample(flow, region, still, cv2.INTER_CUBIC) - np.array(drift, np.float32)
    shift = shift @ (strength * crop.frame_from_eye(size)[:, :2].T).astype(np.float32)
    shift[..., 0] += np.arange(region.left, region.right, dtype=np.float32)
    shift[..., 1] += np.arange(region.top, region.bottom, dtype=np.float32)[:, None]
    here = frame[region.slices].astype(np.float32)
    moved = _read_at(frame, shift).astype(np.float32)
    added = strength * _LEVELS_PER_UNIT * _sample(residual, region, still, cv2.INTER_CUBIC)
    if alpha is not None:
        opacity = strength * _sample(alpha, region, still, cv2.INTER_LINEAR)[..., None]
        added += opacity * (_LEVELS_PER_UNIT - moved)
    change = moved - here + added
    pixels = np.clip(np.rint(here + mask[..., None] * change), 0, 255).astype(np.uint8)
    return ComposedEye(region, pixels, mask, shift, added)


def compose_redirection(
    frame: NDArray[np.uint8],
    patch: NDArray[np.uint8],
    *,
    crop: EyeCrop,
    opening: ArrayLike,
    flow: NDArray[np.float32],
    residual: NDArray[np.float32],
    alpha: NDArray[np.float32] | None = None,
    strength: float,
) -> ComposedEye:
    """Apply the outputs of the network to one eye; the frame is not modified.

    In addition to `compose_eye`, this function removes the shift of the whole face, and limits the
    residual to the colours of the patch.

    Args:
        frame, crop, opening, flow, residual, alpha, strength: see `compose_eye`.
        patch: [h, w, 3] uint8 RGB input of the network.
    """
    return compose_eye(
        frame,
        crop=crop,
        opening=opening,
        flow=flow,
        residual=residual_in_colours_of(patch, flow=flow, residual=residual, alpha=alpha),
        alpha=alpha,
        drift=skin_drift(flow),
        strength=strength,
    )


def put_eye(frame: NDArray[np.uint8], eye: ComposedEye) -> None:
    """Write a composed eye into `frame` in place, at all pixels where its mask is not 0."""
    inside = eye.mask > 0
    frame[eye.region.slices][inside] = eye.pixels[inside]


def opening_mask(opening: ArrayLike, crop: EyeCrop) -> NDArray[np.float32]:
    """Return the soft mask of an eye opening in the square of the crop.

    Args:
        opening: [N, 2] frame points of a closed polygon.
        crop: square around the eye.

    Returns:
        [128, 128] float32 mask. The mask is 1 inside the opening, on the rims of the lids, and
        where the upper lid may move. From there, the mask decreases smoothly to exactly 0. Along
        the border of the square, the mask is 0.
    """
    eye_from_frame = crop.eye_from_frame(_MASK_SIZE_PX)
    points = np.asarray(opening, np.float64) @ eye_from_frame[:, :2].T + eye_from_frame[:, 2]
    width = float(np.ptp(points[:, 0]))
    # Extend the opening upwards. The convex hull also smooths jagged landmarks.
    swept = np.vstack([points, points - (0.0, _LIFT * width)])
    mask = np.zeros((_MASK_SIZE_PX, _MASK_SIZE_PX), np.float32)
    reach = (_GROW + _FEATHER) * width + 1.0
    left, top = np.clip(np.floor(swept.min(axis=0) - reach), 0, _MASK_SIZE_PX).astype(int)
    right, bottom = np.clip(np.ceil(swept.max(axis=0) + reach), 0, _MASK_SIZE_PX).astype(int)
    if left >= right or top >= bottom:
        return mask
    here = slice(top, bottom), slice(left, right)
    outside = np.ones((bottom - top, right - left), np.uint8)
    _fill(outside, swept - (left, top), 0)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    t = np.clip(1.0 + (_GROW * width - away) / max(_FEATHER * width, 1e-6), 0.0, 1.0)
    mask[here] = t * t * (3.0 - 2.0 * t) * _border_fade()[here]
    return mask


def _fill(image: NDArray[np.uint8], points: NDArray[np.float64], value: int) -> None:
    hull = cv2.convexHull(points.astype(np.float32))
    cv2.fillConvexPoly(image, np.rint(hull * 16).astype(np.int32), value, shift=4)


@cache
def _border_fade() -> NDArray[np.float32]:
    """Return a ramp that increases from 0 on the border of the square to 1 inside.

    The value 1 is reached at an eighth of the square's width from the border.
    """
    axis = np.arange(_MASK_SIZE_PX, dtype=np.float32)
    inwards = np.minimum(axis, axis[::-1]) / (_MASK_SIZE_PX / 8)
    ramp = np.clip(inwards, 0.0, 1.0)
    return np.minimum(ramp[:, None], ramp[None, :])


def _region_of_mask(
    mask_patch: NDArray[np.float32], crop: EyeCrop, frame: NDArray[np.uint8]
) -> Region:
    """Return the rectangle of the frame in which the mask is not 0.

    If the mask is outside the frame, the rectangle is empty.
    """
    left, top, width, height = cv2.boundingRect((mask_patch > 0).view(np.uint8))
    if not width:
        return Region(0, 0, 0, 0)
    # Add one pixel on each side, because linear sampling reads that far.
    xs, ys = (left - 1, left + width), (top - 1, top + height)
    corners = np.array([(x, y) for x in xs for y in ys], np.float64)
    frame_from_eye = crop.frame_from_eye(_MASK_SIZE_PX)
    corners = corners @ frame_from_eye[:, :2].T + frame_from_eye[:, 2]
    size = frame.shape[1], frame.shape[0]
    first = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, size).astype(int)
    return Region(*first.tolist(), *last.tolist())


def _read_at(frame: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Sample a frame at `points`, a [h, w, 2] array of positions (x, y).

    Outside of the frame, the border pixels are repeated. Only the area around the points is passed
    to OpenCV, because `cv2.remap` does not support images wider than 32766 pixels.
    """
    last = np.array([frame.shape[1] - 1, frame.shape[0] - 1])
    reach = 3  # bicubic sampling reads two pixels on each side
    first = np.clip(np.floor(points.min(axis=(0, 1))) - reach, 0, last).astype(int)
    end = np.clip(np.ceil(points.max(axis=(0, 1))) + reach, 0, last).astype(int) + 1
    part = frame[first[1] : end[1], first[0] : end[0]]
    return cv2.remap(
        part,
        points - first.astype(np.float32),
        None,
        interpolation=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _sample(
    image: NDArray[np.float32],
    region: Region,
    image_from_frame: NDArray[np.float64],
    interpolation: int,
    *,
    border: float | None = None,
) -> NDArray[np.float32]:
    """Sample an image at the pixels of a region.

    Outside of the image, the value is `border`. If `border` is `None`, the border pixels are
    repeated.
    """
    image_from_region = image_from_frame.copy()
    image_from_region[:, 2] += image_from_frame[:, :2] @ (region.left, region.top)
    return cv2.warpAffine(
        np.ascontiguousarray(image, np.float32),
        image_from_region,
        (region.right - region.left, region.bottom - region.top),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT,
        borderValue=0.0 if border is None else border,
    )


_RING = 8
"""Width of the patch divided by the width of the ring of skin along its border."""

_EVERY = 2
"""Step between the rows and columns of the flow from which the median is calculated."""


def skin_drift(flow: NDArray[np.float32]) -> tuple[float, float]:
    """Return the shift of the skin: the median flow in a ring along the patch's border.

    Args:
        flow: [h, w, 2] backward flow (dx, dy) in patch pixels.

    Returns:
        (dx, dy) in patch pixels. This shift is also backward: skin that moves up has a positive dy.
    """
    some = flow[::_EVERY, ::_EVERY]
    dx, dy = np.median(some[_ring(*some.shape[:2])].T.copy(), axis=1)
    return float(dx), float(dy)


@cache
def _ring(height: int, width: int) -> NDArray[np.bool_]:
    ring = np.ones((height, width), bool)
    ring[height // _RING : -(height // _RING), width // _RING : -(width // _RING)] = False
    return ring


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601)."""


def residual_in_colours_of(
    patch: NDArray[np.uint8],
    *,
    flow: NDArray[np.float32],
    residual: NDArray[np.float32],
    alpha: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Limit a residual so that it adds no new colours to the patch.

    The redirected patch, with the returned residual, has only colours of the patch.

    Args:
        patch: [H, W, 3] uint8 RGB input of the network.
        flow: [H, W, 2] float32 backward flow (dx, dy) in patch pixels.
        residual: [H, W, 3] float32 residual. It is added to an image with values in [-1, 1].
        alpha: [H, W, 1] float32 opacity, or `None`; see `compose_eye`.

    Returns:
        [H, W, 3] float32 residual in the unit of `residual`. For a grey patch, its channels are
        equal.
    """
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    warped = cv2.remap(
        patch.astype(np.float32),
        x + flow[..., 0],
        y + flow[..., 1],
        interpolation=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if alpha is not None:
        warped += alpha * (_LEVELS_PER_UNIT - warped)
    levels = limited_to_colours_of(patch, warped + _LEVELS_PER_UNIT * residual)
    return (levels - warped) / _LEVELS_PER_UNIT


def limited_to_colours_of(
    before: NDArray[np.uint8], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Limit an edited image to the colours of the original image.

    Each colour is split into two parts. The first part is the colour that a linear regression
    predicts from the luma. In a black-and-white photograph, this colour is grey. In a toned
    photograph, it has the tone of the photograph. The second part is the deviation from the first
    part. In each channel, the deviation is clipped to its range in the original image. In a grey
    image, this range is zero.

    Args:
        before: [H, W, 3] uint8 RGB original image.
        after: [H, W, 3] float32 edited image in grey levels.

    Returns:
        [H, W, 3] float32 image in grey levels.
    """
    old = before.astype(np.float32)
    luma, new_luma = old @ _LUMA, after @ _LUMA
    if (before == before[..., :1]).all():
        return np.repeat(new_luma[..., None], 3, axis=-1)
    middle, spread = old.mean(axis=(0, 1)), luma - luma.mean()
    variance = float(np.mean(spread**2))
    slope = np.ones(3, np.float32)
    if variance > 0:
        slope = np.mean(spread[..., None] * (old - middle), axis=(0, 1)) / variance
    deviation = old - middle - slope * spread[..., None]
    predicted = middle + slope * (new_luma - luma.mean())[..., None]
    return predicted + np.clip(
        after - predicted, deviation.min(axis=(0, 1)), deviation.max(axis=(0, 1))
    )
