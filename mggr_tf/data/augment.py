"""Changes that a pair of pictures undergoes together, as pure functions of a seed.

Both pictures of a pair see the same light and the same shift, so that what
separates them is the gaze alone.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from mggr_tf.config.augmentation import Augmentation
from mggr_tf.data.augment_domain import recoloured, stretched
from mggr_tf.data.occluders import occlude
from mggr_tf.data.rows import Rows
from mggr_tf.data.state_labels import EyeStates, with_occlusion, with_openness
from mggr_tf.data.surroundings import with_other_surroundings
from mggr_tf.drawn_eyes.lid_region import OUTLINE_POINTS


class Changed(NamedTuple):
    """A pair after its changes; see `augment_pair`."""

    source: tf.Tensor
    target: tf.Tensor
    codes: tf.Tensor | None
    landmarks: tf.Tensor | None
    state: tf.Tensor | None


def augment_pair(
    source: tf.Tensor,
    target: tf.Tensor,
    *,
    seed: tf.Tensor,
    how: Augmentation,
    rows: Rows | None = None,
    codes: tf.Tensor | None = None,
    landmarks: tf.Tensor | None = None,
    state: EyeStates | None = None,
) -> Changed:
    """Changes both pictures in one and the same way.

    Args:
        source, target: [B, H, W, 3] uint8.
        seed: [2] integers, of the whole batch.
        rows: which of its rows these are; None: all.
        codes: [B, H, W, 2] int8 codes of the flow between them; vectors stay, places move.
        landmarks: [B, K, 2] pixels (x, y) in either picture.
        state: of the eyes in both pictures; stretching changes their openness, occluders cover
            them.

    Returns:
        both pictures as [B, H, W, 3] float32 in [-1, 1], and what came with them; the states
        as [B, 2, 3].
    """
    height, width = source.shape[1], source.shape[2]
    rows = rows or Rows.all(source.shape[0])
    seeds = tf.random.experimental.stateless_split(seed, 4)
    gain = 1 + how.contrast * rows.signed([1, 1, 1], seeds[0])
    tint = 1 + how.colour * rows.signed([1, 1, 3], seeds[1])
    light = how.brightness * rows.signed([1, 1, 1], seeds[2])
    both = tf.cast(tf.concat([source, target], -1), tf.float32) / 127.5 - 1
    points = _points(landmarks, state)
    if how.shift_px:
        # Whole pixels (y, x): where in the old picture the new one's corner lies.
        offsets = rows.whole([2], seeds[3], low=-how.shift_px, high=how.shift_px + 1)
        both = _shift(both, offsets, (height, width))
        if codes is not None:
            codes = _shift(codes, offsets, (height, width))
        if points is not None:
            points -= tf.cast(offsets[:, None, ::-1], tf.float32)
    values = None if state is None else state.values
    if how.stretch:
        both, points, taller = stretched(
            both, points, seed=seed + [0, 103], limit=how.stretch, rows=rows
        )
        values = None if values is None else with_openness(values, taller)
    if landmarks is not None and points is not None:
        landmarks = points[:, : landmarks.shape[1]]
    if how.surroundings:
        both = with_other_surroundings(
            both, seed=seed + [0, 107], share=how.surroundings, rows=rows
        )
    if how.occlusion:
        both, cover = occlude(both, seed=seed + [0, 104], share=how.occlusion, rows=rows)
        if values is not None and points is not None:
            regions = points[:, -2 * OUTLINE_POINTS :]
            values = with_occlusion(values, cover, tf.split(regions, 2, axis=1))
    if how.colour_mix:
        both = recoloured(both, seed=seed + [0, 106], share=how.colour_mix, rows=rows)
    both = _lit_otherwise(both, seed, how, rows)
    middle = tf.reduce_mean(both[..., :3], [1, 2, 3], keepdims=True)

    def relight(image: tf.Tensor) -> tf.Tensor:
        contrasted = (image - middle) * gain + middle + light
        return tf.clip_by_value((contrasted + 1) * tint - 1, -1, 1)

    changed = _taken_otherwise(
        tf.concat([relight(both[..., :3]), relight(both[..., 3:])], -1), seed, how, rows
    )
    return Changed(changed[..., :3], changed[..., 3:], codes, landmarks, values)


def _points(landmarks: tf.Tensor | None, state: EyeStates | None) -> tf.Tensor | None:
    """[B, K, 2] all points that go where the pictures go: landmarks first, lids last."""
    lids = None if state is None else tf.reshape(state.regions, [-1, 2 * OUTLINE_POINTS, 2])
    given = [points for points in (landmarks, lids) if points is not None]
    return tf.concat(given, 1) if given else None


def _lit_otherwise(both: tf.Tensor, seed: tf.Tensor, how: Augmentation, rows: Rows) -> tf.Tensor:
    """Gamma, and light that falls off across the picture."""
    if how.gamma == 0 and how.ramp == 0:
        return both
    height, width = both.shape[1], both.shape[2]
    seeds = tf.random.experimental.stateless_split(seed + [0, 101], 2)
    exponent = tf.exp(how.gamma * rows.signed([1, 1, 1], seeds[0]))
    x = tf.linspace(-1.0, 1.0, width)[None, None, :, None]
    y = tf.linspace(-1.0, 1.0, height)[None, :, None, None]
    slope = how.ramp / 2 * rows.signed([1, 1, 2], seeds[1])
    fall = 1 + slope[..., :1] * x + slope[..., 1:] * y
    return tf.clip_by_value(2 * fall * tf.pow((both + 1) / 2, exponent) - 1, -1, 1)


def _taken_otherwise(both: tf.Tensor, seed: tf.Tensor, how: Augmentation, rows: Rows) -> tf.Tensor:
    """Softer or sharper, and each picture with noise of its own."""
    if how.blur == 0 and how.noise == 0:
        return both
    channels = both.shape[3]
    seeds = tf.random.experimental.stateless_split(seed + [0, 102], 3)
    if how.blur:
        taps = tf.constant([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        kernel = tf.tile((taps[:, None] * taps[None])[..., None, None], [1, 1, channels, 1])
        padded = tf.pad(both, [[0, 0], [2, 2], [2, 2], [0, 0]], "SYMMETRIC")
        soft = tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")
        share = rows.signed([1, 1, 1], seeds[0])
        both += how.blur * tf.where(share < 0, share / 2, share) * (soft - both)
    if how.noise:
        deviation = how.noise * rows.uniform([1, 1, 1], seeds[1])
        both += deviation * rows.noise(both.shape[1:], seeds[2])
    return tf.clip_by_value(both, -1, 1)


def _shift(images: tf.Tensor, offsets: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Each picture shifted by its own offsets, borders repeated."""
    rows = tf.clip_by_value(tf.range(size[0])[None] + offsets[:, :1], 0, size[0] - 1)
    columns = tf.clip_by_value(tf.range(size[1])[None] + offsets[:, 1:], 0, size[1] - 1)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
