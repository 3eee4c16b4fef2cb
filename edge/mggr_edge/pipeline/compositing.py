"""Puts redirected eyes back into a frame.

The network's flow and residual are 64 x 64; the frame is not. For every frame
pixel p near the eye, with e(p) its place in the patch and L the patch's axes in
the frame,

    out(p) = frame(p) + m(e) (frame(p + s L f(e)) + s r(e) - frame(p))

so the frame is resampled once and lashes stay as sharp as they were. m is a
soft mask of the eye's opening, exactly 0 outside its support; s is the
strength. It shortens the way that the iris goes instead of fading between two
irises. f and r are the network's flow and residual with the face held still:
where the network shifts all of it by d, its picture is moved back,
f(e) = flow(e - d) - d and r(e) = residual(e - d).

Crops follow the eye up and down, as they are laid by landmarks and landmarks sit on lids. So in
training the picture asked for shows the whole face shifted against its source, and a network learns
to shift it. In a frame the face stays where it is and the iris goes: what the flow says of the skin
round the eye is taken off everywhere (`compose.compose_eye`).

The network was trained on colour photographs, so its residual has the colours of lids and skin. On
a photograph without colour (black and white, infrared, toned) it would add some.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.eye_crop import EyeCrop

_MASK_SIZE_PX = 128
"""The mask is drawn in the crop's square at this size: smooth, and cheap at any resolution."""

_LIFT = 0.12
"""How far above the upper lid the mask is full, in widths of the eye: where the lid moves to."""

_GROW = 0.03
"""How far outside the opening the mask is full, in widths of the eye: the lid's rim and lashes."""

_FEATHER = 0.14
"""How far the mask takes to fall to 0, in widths of the eye."""

_UNITS_PER_LEVEL = 127.5
"""Grey levels per unit of the network's [-1, 1]."""


@dataclass(frozen=True)
class Region:
    """A rectangle of a frame: `frame[top:bottom, left:right]`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Indexes a frame."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class ComposedEye:
    """A redirected eye, ready to be put into its frame.

    Attributes:
        region: where.
        pixels: [h, w, 3] uint8, equal to the frame wherever `mask` is 0.
        mask: [h, w] float32 in [0, 1]; empty for an eye outside the frame.
        sampling: [h, w, 2] float32 (x, y), the frame's pixels that are read.
        residual: [h, w, 3] float32, grey levels added to what was read, where the mask is 1.
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
    drift: tuple[float, float] = (0.0, 0.0),
    strength: float = 1.0,
) -> ComposedEye:
    """Redirects one eye of a frame; the frame is not changed.

    Args:
        frame: [H, W, 3] uint8 RGB.
        crop: the square that the network saw.
        opening: [N, 2] frame points, the closed polygon of lids and corners.
        flow: [h, w, 2] float32, backward (dx, dy) in pixels of the patch.
        residual: [h, w, 3] float32 in units of [-1, 1].
        drift: (dx, dy) of `flow` that is the whole face's, and is taken off; see
            `anchoring.skin_drift`.
        strength: in [0, 1], the share of flow and residual that is applied.
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
    moved = _read_at(frame, shift)
    change = moved.astype(np.float32) - here
    added = strength * _UNITS_PER_LEVEL * _sample(residual, region, still, cv2.INTER_CUBIC)
    change += added
    pixels = np.clip(np.rint(here + mask[..., None] * change), 0, 255).astype(np.uint8)
    return ComposedEye(region, pixels, mask, shift, added)


def put_eye(frame: NDArray[np.uint8], eye: ComposedEye) -> None:
    """Writes a composed eye into `frame`, in place, where its mask is not 0."""
    inside = eye.mask > 0
    frame[eye.region.slices][inside] = eye.pixels[inside]


def opening_mask(opening: ArrayLike, crop: EyeCrop) -> NDArray[np.float32]:
    """The soft mask of an eye's opening, drawn in the crop's square.

    Args:
        opening: [N, 2] frame points, a closed polygon.
        crop: the square.

    Returns:
        [128, 128] float32: 1 on the opening, on the rim of its lids and where the
        upper lid may go; falls smoothly to exactly 0; 0 along the border.
    """
    eye_from_frame = crop.eye_from_frame(_MASK_SIZE_PX)
    points = np.asarray(opening, np.float64) @ eye_from_frame[:, :2].T + eye_from_frame[:, 2]
    width = float(np.ptp(points[:, 0]))
    # The opening and its upward sweep; the hull also rounds off what landmarks jag.
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
    """0 on the square's border, 1 from an eighth of its width inwards."""
    axis = np.arange(_MASK_SIZE_PX, dtype=np.float32)
    inwards = np.minimum(axis, axis[::-1]) / (_MASK_SIZE_PX / 8)
    ramp = np.clip(inwards, 0.0, 1.0)
    return np.minimum(ramp[:, None], ramp[None, :])


def _region_of_mask(
    mask_patch: NDArray[np.float32], crop: EyeCrop, frame: NDArray[np.uint8]
) -> Region:
    """The frame's rectangle around the mask's support; empty if that lies outside."""
    left, top, width, height = cv2.boundingRect((mask_patch > 0).view(np.uint8))
    if not width:
        return Region(0, 0, 0, 0)
    # One more pixel each way: linear sampling reaches that far.
    xs, ys = (left - 1, left + width), (top - 1, top + height)
    corners = np.array([(x, y) for x in xs for y in ys], np.float64)
    frame_from_eye = crop.frame_from_eye(_MASK_SIZE_PX)
    corners = corners @ frame_from_eye[:, :2].T + frame_from_eye[:, 2]
    size = frame.shape[1], frame.shape[0]
    first = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, size).astype(int)
    return Region(*first.tolist(), *last.tolist())


def _read_at(frame: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Reads a frame at points [h, w, 2], (x, y); beyond its border the border is repeated.

    OpenCV reads from nothing wider than 32766 pixels, so it gets the part around the points.
    """
    last = np.array([frame.shape[1] - 1, frame.shape[0] - 1])
    reach = 3  # a cubic reads two pixels each way
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
    """Reads an image at a region's pixels; beyond its border `border`, or the border repeated."""
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
"""The skin that is asked: a ring of one eighth of the patch along its border."""

_EVERY = 2
"""Every second row and column is enough: flow is smooth."""


def skin_drift(flow: NDArray[np.float32]) -> tuple[float, float]:
    """How far the skin at the patch's border is shifted: the median flow of the ring.

    Args:
        flow: [h, w, 2], backward (dx, dy) in pixels of the patch.

    Returns:
        (dx, dy) in pixels of the patch, backward too: skin that goes up has a positive dy.
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

_LEVELS_PER_UNIT = 127.5
"""Grey levels per unit of the network's [-1, 1]."""


def residual_in_colours_of(
    patch: NDArray[np.uint8], *, flow: NDArray[np.float32], residual: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns the residual whose sum with the warped patch has the colours of the patch only.

    Args:
        patch: [H, W, 3] uint8 RGB, the network's input.
        flow: [H, W, 2] float32, backward (dx, dy) in pixels of the patch.
        residual: [H, W, 3] float32 in units of [-1, 1].

    Returns:
        [H, W, 3] float32 in the same unit; its three channels are equal for a grey patch.
    """
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    warped = cv2.remap(
        patch.astype(np.float32),
        x + flow[..., 0],
        y + flow[..., 1],
        interpolation=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    levels = limited_to_colours_of(patch, warped + _LEVELS_PER_UNIT * residual)
    return (levels - warped) / _LEVELS_PER_UNIT


def limited_to_colours_of(
    before: NDArray[np.uint8], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Limits an edited picture to the colours that it had before.

    A colour consists of its luma, the colour that a linear regression on the luma predicts (grey,
    or the tone of a toned photograph), and the deviation from that. In each channel, the deviation
    is clipped to the range that it had before: zero, where all was grey.

    Args:
        before: [H, W, 3] uint8 RGB.
        after: [H, W, 3] float32, grey levels.

    Returns:
        [H, W, 3] float32, grey levels.
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
