"""Things before an eye: fingers, a hand, hair, rims of glasses, glare, and bars of any colour.

Laid over pictures inside the TensorFlow graph, as pure functions of a seed. All of them are one
shape with other numbers: bars with round ends, side by side (fingers) or combed (hair), straight
or bent, hard or soft, flat or shaded like a cylinder. Pictures may be drawn or photographed; what
part of an eye they cover is asked with `covered_share`, of any mask or of the polygon of
`lid_region`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mggr_tf.data.rows import Rows

SLOTS = 2
"""So many occluders may lie over one picture."""

_PI = 3.14159265


class _Kind(NamedTuple):
    """What the occluders of one kind have in common; pairs are (least, most).

    Attributes:
        odds: how often it occurs, beside the others.
        radius_px: half the width of a bar.
        length_px: of a bar, from its near end; the far end of a long one lies outside.
        centred: 1 if the near end lies half a length before the place that is aimed at, 0 if at it.
        bars: side by side.
        bend: at most, curvature in 1 / pixels.
        soft_px: half the width of an edge.
        opacity: of a bar.
        combed: 1 for strands with gaps.
        round: how much darker a bar's edges are than its middle.
        rim: how dark its outline is.
        gleam: brightness of a line of light along it.
        spread_px: standard deviation of the place aimed at, from the middle of the picture.
    """

    odds: float
    radius_px: tuple[float, float]
    length_px: tuple[float, float]
    centred: float
    bars: tuple[int, int]
    bend: float
    soft_px: tuple[float, float]
    opacity: tuple[float, float]
    combed: float
    round: float
    rim: float
    gleam: float
    spread_px: float


_FINGERS = _Kind(0.28, (4, 9), (90, 120), 0, (1, 4), 0.003, (0.4, 1.2), (1, 1), 0, 0.55, 0.5, 0, 16)
_HAND = _Kind(0.12, (14, 40), (90, 120), 0, (1, 1), 0.003, (0.5, 2), (1, 1), 0, 0.35, 0.3, 0, 22)
_HAIR = _Kind(0.17, (2, 14), (60, 120), 1, (1, 1), 0.02, (0.5, 2), (0.6, 1), 1, 0.2, 0, 0.25, 15)
_RIM = _Kind(0.15, (1, 4), (30, 120), 1, (1, 1), 0.015, (0.3, 0.8), (0.9, 1), 0, 0.3, 0.2, 0.5, 12)
_GLARE = _Kind(0.13, (3, 14), (2, 40), 1, (1, 1), 0.01, (2, 8), (0.4, 1), 0, 0, 0, 0, 12)
_BAR = _Kind(0.15, (1, 12), (9, 110), 1, (1, 1), 0.005, (0.4, 2), (0.3, 1), 0, 0.2, 0.2, 0.2, 18)
_KINDS = (_FINGERS, _HAND, _HAIR, _RIM, _GLARE, _BAR)

_SKINS = ((0.27, 0.17, 0.12), (0.97, 0.80, 0.68))
"""sRGB of dark and of light skin; other skins lie between them."""
_HAIRS = ((0.06, 0.05, 0.05), (0.78, 0.66, 0.46))
_OWN_COLOUR_SHARE = 0.5
"""How many fingers and hands have the colour of the skin in the picture."""


class Occluded(NamedTuple):
    """Pictures with occluders.

    Attributes:
        images: [B, H, W, C], as they were given.
        cover: [B, H, W] in [0, 1], how much of each pixel is hidden.
    """

    images: tf.Tensor
    cover: tf.Tensor


def occlude(
    images: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows | None = None
) -> Occluded:
    """Lays up to `SLOTS` occluders over each picture.

    Args:
        images: [B, H, W, C] float32 in [-1, 1], C a multiple of 3: pictures that lie behind the
            same occluders, as the two of a pair.
        seed: [2] integers, of the whole batch.
        share: how many of the occluders are there at all, in [0, 1].
        rows: which rows of the batch these are; None: all.
    """
    rows = rows or Rows.all(images.shape[0])
    visible = tf.ones_like(images[..., :1])
    skin = _skin_of(images[..., :3])
    for slot in range(SLOTS):
        layer = _layer(images.shape[1:3], skin, seed=seed + [0, slot], share=share, rows=rows)
        pictures = images.shape[3] // 3
        images += layer.alpha * (tf.tile(layer.colour, [1, 1, 1, pictures]) - images)
        visible *= 1 - layer.alpha
    return Occluded(images, 1 - visible[..., 0])


def covered_share(cover: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """[B] part of each mask that is covered; NaN where a mask is empty.

    Args:
        cover: [B, H, W] in [0, 1], of `occlude`.
        masks: [B, H, W] in [0, 1], as of `filled`.
    """
    area = tf.reduce_sum(masks, [1, 2])
    inside = tf.reduce_sum(cover * masks, [1, 2])
    return tf.where(area > 0, tf.math.divide_no_nan(inside, area), float("nan"))


def filled(polygons: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """[B, H, W] how much of each pixel lies inside a polygon, along the pixel's middle line.

    Args:
        polygons: [B, N, 2] pixels (x, y), closed, no edge crossing another. NaN: all 0.
        size: (height, width).
    """
    x1, y1 = polygons[..., 0], polygons[..., 1]
    x2, y2 = tf.roll(x1, -1, axis=1), tf.roll(y1, -1, axis=1)
    row = tf.range(size[0], dtype=tf.float32)[None, None, :]
    down = tf.cast(y1[..., None] <= row, tf.float32) - tf.cast(y2[..., None] <= row, tf.float32)
    slope = tf.math.divide_no_nan(x2 - x1, y2 - y1)[..., None]
    meets = x1[..., None] + slope * (row - y1[..., None])  # [B, N, H] where an edge meets a row
    meets = tf.where(down == 0, 0.0, meets)
    left_of_it = tf.range(size[1], dtype=tf.float32) - 0.5
    reached = tf.clip_by_value(meets[..., None] - left_of_it, 0, 1)
    return tf.abs(tf.einsum("bnh,bnhw->bhw", down, reached))


class _Layer(NamedTuple):
    alpha: tf.Tensor  # [B, H, W, 1]
    colour: tf.Tensor  # [B, H, W, 3]


def _skin_of(images: tf.Tensor) -> tf.Tensor:
    """[B, 3] colour of the cheek, which fills the lowest rows of a patch."""
    cheek = images[:, 3 * images.shape[1] // 4 :]
    return tf.reduce_mean(cheek, [1, 2])


def _layer(
    size: tuple[int, int], skin: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows
) -> _Layer:
    seeds = tf.random.experimental.stateless_split(seed, 3)
    unit = tf.unstack(rows.uniform([], seeds[0], before=(20,)))
    kind = _chosen(unit[0])

    def number(name: str) -> tf.Tensor:
        """[B] what all of a kind have in common."""
        return tf.gather(tf.constant([float(getattr(k, name)) for k in _KINDS]), kind)

    def between(name: str, place: tf.Tensor) -> tf.Tensor:
        """[B] between the limits, by equal factors."""
        limits = np.asarray([getattr(k, name) for k in _KINDS], np.float32)
        low, high = tf.gather(limits[:, 0], kind), tf.gather(limits[:, 1], kind)
        return low * tf.pow(high / low, place)

    radius, length = between("radius_px", unit[1]), between("length_px", unit[2])
    place = rows.normal([2], seeds[1]) * number("spread_px")[:, None]
    angle = 2 * _PI * unit[3]
    right_px = tf.range(size[1], dtype=tf.float32) - (size[1] - 1) / 2
    down_px = tf.range(size[0], dtype=tf.float32) - (size[0] - 1) / 2
    right = right_px[None, None, :] - place[:, 0, None, None]
    down = down_px[None, :, None] - place[:, 1, None, None]
    cos, sin = _wide(tf.cos(angle)), _wide(tf.sin(angle))
    along = cos * right + sin * down
    across = cos * down - sin * right
    across += _wide(number("bend") * (2 * unit[4] - 1)) / 2 * along * along
    along += _wide(number("centred") * length / 2)
    # Bars side by side: each pixel belongs to the nearest one.
    count = tf.floor(between("bars", unit[5] * 0.999) + 0.5)
    first = -tf.floor(count * unit[6])
    pitch = 2.04 * radius
    which = tf.clip_by_value(
        tf.round(across / _wide(pitch)), _wide(first), _wide(first + count - 1)
    )
    local = across - which * _wide(pitch)
    staggered = 0.9 * _wide(radius) * tf.sin(2.1 * which + 6.3 * _wide(unit[7]))
    along -= staggered * tf.cast(_wide(count) > 1, tf.float32)
    beyond = tf.maximum(tf.maximum(_wide(radius) - along, along - _wide(length)), 0)
    # A long bar's near end is round; a bar as wide as long is a disc.
    beyond = tf.where(_wide(length) < 2 * _wide(radius), tf.abs(along - _wide(length / 2)), beyond)
    distance = tf.sqrt(local * local + beyond * beyond + 1e-6)
    soft = _wide(between("soft_px", unit[8]))
    inside = tf.sigmoid(2.2 / soft * (_wide(radius) - distance))
    inside *= 1 - _wide(number("combed")) * (1 - _strands(local, along, unit[9], unit[10]))
    there = tf.cast(unit[11] < share, tf.float32) * between("opacity", unit[12])
    alpha = inside * _wide(there)

    off = tf.minimum(distance / _wide(radius), 1.0)
    shade = 1 - _wide(number("round")) * (1 - tf.sqrt(1 - 0.98 * off * off))
    shade *= 1 + 0.5 * _wide(number("round") * (2 * unit[13] - 1)) * local / _wide(radius)
    shade *= 1 - _wide(number("rim") * unit[14]) * tf.sigmoid(12 * (off - 0.88))
    # Joints of fingers, and folds of a hand.
    shade *= 1 - 0.25 * _wide(number("rim")) * tf.exp(
        -tf.square(tf.math.floormod(along, _wide(4.5 * radius)) - _wide(radius)) / 1.5
    )
    gleam = _wide(number("gleam") * unit[15]) * tf.exp(
        -tf.square((local / _wide(radius) - _wide(unit[16] - 0.5)) / 0.3)
    )
    base = _colours(kind, skin, unit, rows.uniform([3], seeds[2]))
    light = (base[:, None, None, :] + 1) / 2 * shade[..., None] + gleam[..., None]
    return _Layer(alpha[..., None], 2 * tf.clip_by_value(light, 0, 1) - 1)


def _strands(across: tf.Tensor, along: tf.Tensor, unit: tf.Tensor, dense: tf.Tensor) -> tf.Tensor:
    """[B, H, W] 1 on a strand of hair, 0 in the gaps between them."""
    phase = 6.3 * _wide(unit)
    wave = (
        tf.sin(1.9 * across + phase)
        + tf.sin(0.83 * across + 3 * phase + 0.02 * along)
        + 0.7 * tf.sin(3.1 * across + 5 * phase - 0.03 * along)
    )
    return tf.sigmoid(4 * (wave + 2.5 * _wide(dense) - 0.9))


def _colours(kind: tf.Tensor, skin: tf.Tensor, unit: list[tf.Tensor], free: tf.Tensor) -> tf.Tensor:
    """[B, 3] in [-1, 1] by kind.

    Args:
        free: [B, 3] in [0, 1).
    """
    place, gain = unit[17][:, None], tf.exp(0.9 * (unit[18][:, None] - 0.6))
    own = skin
    other = 2 * _mixed(_SKINS, place) - 1
    is_own = tf.cast(unit[19] < _OWN_COLOUR_SHARE, tf.float32)[:, None]
    hand = tf.clip_by_value((is_own * own + (1 - is_own) * other + 1) * gain - 1, -1, 1)
    hair = tf.clip_by_value(2 * _mixed(_HAIRS, place**2) * (0.8 + 0.4 * free) - 1, -1, 1)
    # Most rims are dark, others of any colour.
    dark = 0.25 * free * place
    rim = 2 * tf.where(is_own > 0, dark, free) - 1
    glare = 1 - 0.35 * free * place
    any_colour = 2 * free - 1
    of_kind = tf.stack([hand, hand, hair, rim, glare, any_colour], 1)
    return tf.gather(of_kind, kind, batch_dims=1)


def _mixed(ends: tuple[tuple[float, ...], tuple[float, ...]], place: tf.Tensor) -> tf.Tensor:
    low, high = (tf.constant(end)[None] for end in ends)
    return low + place * (high - low)


def _chosen(unit: tf.Tensor) -> tf.Tensor:
    """[B] int32 indices of `_KINDS`, by their odds."""
    odds = np.cumsum([kind.odds for kind in _KINDS])
    limits = tf.constant((odds / odds[-1])[:-1], tf.float32)
    return tf.reduce_sum(tf.cast(unit[:, None] >= limits, tf.int32), 1)


def _wide(values: tf.Tensor) -> tf.Tensor:
    """[B] as [B, 1, 1]."""
    return values[:, None, None]
