"""Render random occluders: objects in front of an eye.

The kinds are fingers, hands, hair, glasses rims, glare and coloured bars. The TensorFlow graph
renders the occluders onto images. The images can be synthetic eyes or photographs. The same seed
gives the same occluders.

All kinds use the same shape with different parameters. The shape consists of bars with round ends.
Fingers are several bars side by side. Hair is a bar that is split into strands. The bars are
straight or bent. Their edges are sharp or soft. Their shading is flat or cylindrical.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mggr_tf.data.rows import Rows

SLOTS = 2
"""The maximum number of occluders per image."""

_PI = 3.14159265
_NUMBERS = 23
"""The number of random numbers per occluder. `_layer` uses exactly this number."""


class _Kind(NamedTuple):
    """The parameters of one kind of occluder. Pairs are (minimum, maximum).

    Attributes:
        odds: relative frequency of the kind.
        radius_px: half the width of a bar, in pixels.
        length_px: length of a bar, in pixels. One end of a long bar is outside the image.
        centred: 1 if the centre of the bar is at the random position. 0 if an end of the bar is at
            the random position.
        bars: number of bars side by side.
        bend: maximum curvature, in 1 / pixels.
        soft_px: half the width of an edge, in pixels.
        opacity: opacity of a bar.
        combed: 1 if the bar is split into strands with gaps, otherwise 0.
        round: how much darker the edges of a bar are than its middle.
        rim: how much darker the outline of a bar is.
        gleam: brightness of a highlight along the bar.
        shadow: how much darker the image around a bar is.
        spread_px: standard deviation of the random position, in pixels. The mean position is the
            middle of the image.
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


# An eye fills most of its patch. A millimetre is therefore about 2 pixels.
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
"""The sRGB colours of dark and of light skin. Other skin colours are interpolated between these two
colours."""
_HAIRS = ((0.06, 0.05, 0.05), (0.78, 0.66, 0.46))
_NAIL_SHARE = 0.6
"""The fraction of fingers with visible nails."""
_OWN_COLOUR_SHARE = 0.5
"""The fraction of fingers and hands that have the same skin colour as the face in the image."""


class Occluded(NamedTuple):
    """The result of `occlude`: images with occluders.

    Attributes:
        images: [B, H, W, C], in the format of the input.
        cover: [B, H, W] in [0, 1], covered fraction of each pixel.
    """

    images: tf.Tensor
    cover: tf.Tensor


def occlude(
    images: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows | None = None
) -> Occluded:
    """Render up to `SLOTS` occluders onto each image.

    Args:
        images: [B, H, W, C] float32 in [-1, 1]. C is a multiple of 3. The channels can contain
            several RGB images, for example the two images of a pair. All images of a row get the
            same occluders.
        seed: [2] integers, seed of the whole batch.
        share: probability of each occluder, in [0, 1].
        rows: rows of the batch that the images belong to. `None` means all rows.
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


class _Layer(NamedTuple):
    alpha: tf.Tensor  # [B, H, W, 1]
    colour: tf.Tensor  # [B, H, W, 3]
    lit: tf.Tensor  # [B, H, W, 1], fraction of light in the shadow


def _skin_of(images: tf.Tensor) -> tf.Tensor:
    """Return the colour [B, 3] of the cheek. The lowest rows of a patch show the cheek."""
    cheek = images[:, 3 * images.shape[1] // 4 :]
    return tf.reduce_mean(cheek, [1, 2])


class _Numbers:
    """The parameters of one occluder per image. Each parameter has the shape [B, 1, 1].

    Args:
        kind: [B] int32 indices into `_KINDS`.
    """

    def __init__(self, kind: tf.Tensor) -> None:
        self._kind = kind

    def common(self, name: str) -> tf.Tensor:
        """Return a parameter that is the same for all occluders of a kind."""
        of_kinds = tf.constant([float(getattr(kind, name)) for kind in _KINDS])
        return _wide(tf.gather(of_kinds, self._kind))

    def between(self, name: str, place: tf.Tensor) -> tf.Tensor:
        """Interpolate geometrically between the limits of a kind.

        A `place` of 0 gives the minimum, and a `place` of 1 gives the maximum.
        """
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
    # An occluder can have several bars side by side. Each pixel belongs to the nearest bar.
    bars = tf.round(numbers.between("bars", next(unit)))
    first = -tf.floor(bars * next(unit))
    bar = tf.clip_by_value(tf.round(across / (2.04 * radius)), first, first + bars - 1)
    across -= bar * 2.04 * radius
    along -= 0.9 * radius * _wave(0.34 * bar + next(unit)) * tf.cast(bars > 1, tf.float32)

    beyond = tf.maximum(tf.maximum(radius - along, along - length), 0)
    # A bar that is shorter than its width is rendered as a disc.
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
    # The dark lines are the joints of fingers or the folds of a hand. The first joint of a finger
    # is behind the nail.
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
    """Return pixel coordinates relative to a position, along and across a direction.

    Both results have the shape [B, H, W].

    Args:
        size: (height, width).
        place: [B, 1, 1, 2] position in pixels (x, y) relative to the middle of the image.
        angle: [B, 1, 1], angle of the direction in radians.
    """
    right = tf.range(size[1], dtype=tf.float32) - (size[1] - 1) / 2 - place[..., 0]
    down = (tf.range(size[0], dtype=tf.float32) - (size[0] - 1) / 2)[:, None] - place[..., 1]
    cos, sin = tf.cos(angle), tf.sin(angle)
    return cos * right + sin * down, cos * down - sin * right


def _nail(along: tf.Tensor, across: tf.Tensor) -> tf.Tensor:
    """Return a mask [B, H, W] that is 1 on the nail of a finger.

    The coordinates are in units of the radius of the finger.
    """
    off = tf.square((along - 0.9) / 0.7) + tf.square(across / 0.6)
    return tf.sigmoid(12 * (1 - off))


def _strands(across: tf.Tensor, along: tf.Tensor, phase: tf.Tensor, dense: tf.Tensor) -> tf.Tensor:
    """Return a mask [B, H, W] that is 1 on strands of hair, and 0 in the gaps between strands.

    Args:
        across, along: [B, H, W] coordinates in pixels.
        phase, dense: [B, 1, 1] in [0, 1).
    """
    wave = (
        _wave(0.3 * across + phase)
        + _wave(0.13 * across + 3 * phase + 0.003 * along)
        + 0.7 * _wave(0.5 * across + 5 * phase - 0.005 * along)
    )
    return tf.sigmoid(4 * (wave + 2.5 * dense - 0.9))


def _wave(turns: tf.Tensor) -> tf.Tensor:
    """Return a triangle wave in [-1, 1] with period 1. It is faster to compute than a sine."""
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
    """Return the colours [B, 3] in [-1, 1] of the occluders.

    Args:
        kind: [B] int32 indices into `_KINDS`.
        skin: [B, 3], skin colour of the subject.
        place: [B, 1] in [0, 1), position of the colour between the dark colour (0) and the light
            colour (1).
        brightness: [B, 1] in [0, 1), brightness of the light on a hand.
        is_own: [B, 1], whether the hand has the skin colour of the subject.
        free: [B, 3] in [0, 1), random colour.
    """
    # Hands and pressed skin are a little redder or paler than the face.
    light = tf.exp(0.9 * (brightness - 0.6)) * (1 + 0.12 * (free - 0.5))
    hand = tf.where(is_own, (skin + 1) / 2, _mixed(_SKINS, place)) * light
    # The division keeps the hue of overexposed skin.
    hand /= tf.maximum(tf.reduce_max(hand, -1, keepdims=True), 1)
    hair = _mixed(_HAIRS, place**2) * (0.8 + 0.4 * free)
    # Half of the rims are dark. The other half can have any colour.
    rim = tf.where(is_own, 0.25 * free * place, free)
    glare = 1 - 0.2 * free * place
    of_kind = tf.stack([hand, hand, hair, rim, glare, free], 1)
    return 2 * tf.clip_by_value(tf.gather(of_kind, kind, batch_dims=1), 0, 1) - 1


def _mixed(ends: tuple[tuple[float, ...], tuple[float, ...]], place: tf.Tensor) -> tf.Tensor:
    low, high = (tf.constant(end)[None] for end in ends)
    return low + place * (high - low)


def _chosen(unit: tf.Tensor) -> tf.Tensor:
    """Choose kinds at random. Return indices [B] int32 into `_KINDS`.

    `unit` contains random numbers in [0, 1). The field `odds` of a kind is its relative frequency.
    """
    odds = np.cumsum([kind.odds for kind in _KINDS])
    limits = tf.constant((odds / odds[-1])[:-1], tf.float32)
    return tf.reduce_sum(tf.cast(unit[:, None] >= limits, tf.int32), 1)


def _wide(values: tf.Tensor) -> tf.Tensor:
    """Reshape [B, ...] to [B, 1, 1, ...]."""
    return values[:, None, None]
