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
_NUMBERS = 23
"""Of an occluder, drawn at random: as many as `_layer` takes."""


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
        shadow: how dark it makes what lies beside it.
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
    shadow: float
    spread_px: float


# An eye fills most of its patch: 2 pixels are about a millimetre.
_FINGERS = _Kind(
    odds=0.28,
    radius_px=(7, 16),
    length_px=(90, 140),
    centred=0,
    bars=(1, 4),
    bend=0.002,
    soft_px=(0.4, 2.5),
    opacity=(1, 1),
    combed=0,
    round=0.55,
    rim=0.5,
    gleam=0.1,
    shadow=0.5,
    spread_px=16,
)
_HAND = _FINGERS._replace(
    odds=0.12, radius_px=(22, 70), bars=(1, 1), soft_px=(0.5, 4), round=0.35, rim=0.3, spread_px=24
)
_HAIR = _Kind(
    odds=0.17,
    radius_px=(1.5, 20),
    length_px=(60, 140),
    centred=1,
    bars=(1, 1),
    bend=0.02,
    soft_px=(0.5, 3),
    opacity=(0.6, 1),
    combed=1,
    round=0.2,
    rim=0,
    gleam=0.25,
    shadow=0.3,
    spread_px=15,
)
_RIM = _HAIR._replace(
    odds=0.15,
    radius_px=(1, 5),
    length_px=(30, 140),
    soft_px=(0.3, 1),
    opacity=(0.9, 1),
    combed=0,
    round=0.3,
    rim=0.2,
    gleam=0.5,
    spread_px=12,
)
_GLARE = _HAIR._replace(
    odds=0.13,
    radius_px=(3, 20),
    length_px=(2, 50),
    bend=0.01,
    soft_px=(2, 9),
    opacity=(0.4, 1),
    combed=0,
    round=0,
    gleam=0,
    shadow=0,
    spread_px=12,
)
_BAR = _RIM._replace(
    radius_px=(1, 16),
    length_px=(9, 140),
    bend=0.005,
    soft_px=(0.4, 3),
    opacity=(0.3, 1),
    round=0.2,
    gleam=0.2,
    spread_px=18,
)
_KINDS = (_FINGERS, _HAND, _HAIR, _RIM, _GLARE, _BAR)

_SKINS = ((0.30, 0.17, 0.11), (0.95, 0.76, 0.65))
"""sRGB of dark and of light skin; other skins lie between them."""
_HAIRS = ((0.06, 0.05, 0.05), (0.78, 0.66, 0.46))
_NAIL_SHARE = 0.6
"""How many fingers show their nails."""
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
        images = (images + 1) * layer.lit - 1
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
    lit: tf.Tensor  # [B, H, W, 1] light that its shadow leaves


def _skin_of(images: tf.Tensor) -> tf.Tensor:
    """[B, 3] colour of the cheek, which fills the lowest rows of a patch."""
    cheek = images[:, 3 * images.shape[1] // 4 :]
    return tf.reduce_mean(cheek, [1, 2])


class _Numbers:
    """The numbers of one occluder for each picture, [B, 1, 1] each.

    Args:
        kind: [B] int32 indices of `_KINDS`.
    """

    def __init__(self, kind: tf.Tensor) -> None:
        self._kind = kind

    def common(self, name: str) -> tf.Tensor:
        """What all of a kind have in common."""
        of_kinds = tf.constant([float(getattr(kind, name)) for kind in _KINDS])
        return _wide(tf.gather(of_kinds, self._kind))

    def between(self, name: str, place: tf.Tensor) -> tf.Tensor:
        """Between the limits of a kind, by equal factors: the least at 0, the most at 1."""
        limits = np.asarray([getattr(kind, name) for kind in _KINDS], np.float32)
        low, high = (_wide(tf.gather(limits[:, end], self._kind)) for end in (0, 1))
        return low * tf.pow(high / low, place)


def _layer(
    size: tuple[int, int], skin: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows
) -> _Layer:
    seeds = tf.random.experimental.stateless_split(seed, 3)
    drawn = rows.uniform([1, 1], seeds[0], before=(_NUMBERS,))
    unit = iter(tf.unstack(drawn))
    kind = _chosen(next(unit)[:, 0, 0])
    numbers = _Numbers(kind)
    radius = numbers.between("radius_px", next(unit))
    length = numbers.between("length_px", next(unit))
    place = _wide(rows.normal([2], seeds[1])) * numbers.common("spread_px")[..., None]
    along, across = _turned(size, place, 2 * _PI * next(unit))
    across += numbers.common("bend") * (next(unit) - 0.5) * along * along
    along += numbers.common("centred") * length / 2
    # Bars side by side: each pixel belongs to the nearest one.
    bars = tf.round(numbers.between("bars", next(unit)))
    first = -tf.floor(bars * next(unit))
    bar = tf.clip_by_value(tf.round(across / (2.04 * radius)), first, first + bars - 1)
    across -= bar * 2.04 * radius
    along -= 0.9 * radius * _wave(0.34 * bar + next(unit)) * tf.cast(bars > 1, tf.float32)

    beyond = tf.maximum(tf.maximum(radius - along, along - length), 0)
    # A bar that is as wide as long is a disc.
    beyond = tf.where(length < 2 * radius, tf.abs(along - length / 2), beyond)
    distance = tf.sqrt(across * across + beyond * beyond + 1e-6)
    soft = numbers.between("soft_px", next(unit))
    inside = tf.sigmoid(2.2 / soft * (radius - distance))
    gaps = 1 - _strands(across, along, next(unit), next(unit))
    inside *= 1 - numbers.common("combed") * gaps
    there = tf.cast(next(unit) < share, tf.float32)
    alpha = inside * there * numbers.between("opacity", next(unit))

    place_across, place_along = across / radius, along / radius
    off = tf.minimum(distance / radius, 1.0)
    round_, rim = numbers.common("round"), numbers.common("rim")
    shade = 1 - round_ * (1 - tf.sqrt(1 - 0.98 * off * off))
    shade *= 1 + round_ * (next(unit) - 0.5) * place_across
    shade *= 1 - rim * next(unit) * tf.sigmoid(12 * (off - 0.88))
    # Joints of fingers, the first of them behind the nail; folds of a hand.
    joint = tf.math.floormod(place_along - 2.5, 3 + 9 / radius)
    shade *= 1 - rim * 0.5 * next(unit) * tf.exp(-tf.square(joint / 0.12))
    with_nails = (kind == _KINDS.index(_FINGERS))[:, None, None] & (next(unit) < _NAIL_SHARE)
    gleam = 0.1 * tf.cast(with_nails, tf.float32) * _nail(place_along, place_across)
    line = tf.exp(-tf.square((place_across - next(unit) + 0.5) / 0.3))
    gleam += numbers.common("gleam") * next(unit) * line
    colours = _colours(
        kind,
        skin,
        place=next(unit)[:, 0],
        brightness=next(unit)[:, 0],
        is_own=next(unit)[:, 0] < _OWN_COLOUR_SHARE,
        free=rows.uniform([3], seeds[2]),
    )
    light = (_wide(colours) + 1) / 2 * shade[..., None] + gleam[..., None]
    lit = 1 - numbers.common("shadow") * next(unit) * there * tf.sigmoid(0.7 * (radius - distance))
    return _Layer(alpha[..., None], 2 * tf.clip_by_value(light, 0, 1) - 1, lit[..., None])


def _turned(
    size: tuple[int, int], place: tf.Tensor, angle: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """[B, H, W] pixels along a direction and across it, from a place.

    Args:
        size: (height, width).
        place: [B, 1, 1, 2] pixels (x, y) from the middle of the picture.
        angle: [B, 1, 1] of the direction.
    """
    right = tf.range(size[1], dtype=tf.float32) - (size[1] - 1) / 2 - place[..., 0]
    down = (tf.range(size[0], dtype=tf.float32) - (size[0] - 1) / 2)[:, None] - place[..., 1]
    cos, sin = tf.cos(angle), tf.sin(angle)
    return cos * right + sin * down, cos * down - sin * right


def _nail(along: tf.Tensor, across: tf.Tensor) -> tf.Tensor:
    """[B, H, W] 1 on a nail near the end of a finger, 0 elsewhere; both in radii."""
    off = tf.square((along - 0.9) / 0.7) + tf.square(across / 0.6)
    return tf.sigmoid(12 * (1 - off))


def _strands(across: tf.Tensor, along: tf.Tensor, phase: tf.Tensor, dense: tf.Tensor) -> tf.Tensor:
    """[B, H, W] 1 on a strand of hair, 0 in the gaps between them.

    Args:
        across, along: [B, H, W] pixels.
        phase, dense: [B, 1, 1] in [0, 1).
    """
    wave = (
        _wave(0.3 * across + phase)
        + _wave(0.13 * across + 3 * phase + 0.003 * along)
        + 0.7 * _wave(0.5 * across + 5 * phase - 0.005 * along)
    )
    return tf.sigmoid(4 * (wave + 2.5 * dense - 0.9))


def _wave(turns: tf.Tensor) -> tf.Tensor:
    """From -1 to 1 and back in one turn, in straight lines: cheaper than a sine."""
    return tf.abs(4 * (turns - tf.floor(turns)) - 2) - 1


def _colours(
    kind: tf.Tensor,
    skin: tf.Tensor,
    *,
    place: tf.Tensor,
    brightness: tf.Tensor,
    is_own: tf.Tensor,
    free: tf.Tensor,
) -> tf.Tensor:
    """[B, 3] in [-1, 1] by kind.

    Args:
        kind: [B] int32 indices of `_KINDS`.
        skin: [B, 3] of the person.
        place: [B, 1] in [0, 1) between dark and light.
        brightness: [B, 1] in [0, 1), of the light on a hand.
        is_own: [B, 1] whether a hand is the person's own.
        free: [B, 3] in [0, 1).
    """
    # Blood shows in hands and where skin is pressed: a little redder or paler than the face.
    light = tf.exp(0.9 * (brightness - 0.6)) * (1 + 0.12 * (free - 0.5))
    hand = tf.where(is_own, (skin + 1) / 2, _mixed(_SKINS, place)) * light
    # Bright skin keeps its hue.
    hand /= tf.maximum(tf.reduce_max(hand, -1, keepdims=True), 1)
    hair = _mixed(_HAIRS, place**2) * (0.8 + 0.4 * free)
    # Most rims are dark, others of any colour.
    rim = tf.where(is_own, 0.25 * free * place, free)
    glare = 1 - 0.2 * free * place
    of_kind = tf.stack([hand, hand, hair, rim, glare, free], 1)
    return 2 * tf.clip_by_value(tf.gather(of_kind, kind, batch_dims=1), 0, 1) - 1


def _mixed(ends: tuple[tuple[float, ...], tuple[float, ...]], place: tf.Tensor) -> tf.Tensor:
    low, high = (tf.constant(end)[None] for end in ends)
    return low + place * (high - low)


def _chosen(unit: tf.Tensor) -> tf.Tensor:
    """[B] int32 indices of `_KINDS`, by their odds."""
    odds = np.cumsum([kind.odds for kind in _KINDS])
    limits = tf.constant((odds / odds[-1])[:-1], tf.float32)
    return tf.reduce_sum(tf.cast(unit[:, None] >= limits, tf.int32), 1)


def _wide(values: tf.Tensor) -> tf.Tensor:
    """[B, ...] as [B, 1, 1, ...]."""
    return values[:, None, None]
