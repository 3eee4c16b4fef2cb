"""Replaces what surrounds an eye: an estimator must read the gaze from the eye itself.

Brow, nose and cheek tell an estimator how the head is turned, and it adds that to where the eye
looks within the head. What it learns from the brows of drawn people does not hold for photographs:
with the surroundings of photographs blurred, the pitch it reads falls by four degrees.
"""

from __future__ import annotations

import tensorflow as tf

from mggr_tf.data.rows import Rows

_CENTRE_PX = (-3.5, 3.5)
_HALF_WIDTH_PX = (17.0, 32.0)
_HALF_HEIGHT_PX = (8.0, 24.0)
_EDGES = (2.0, 8.0)
"""Of the ellipse that stays, in pixels of a patch of 64: its centre from the patch's middle, its
half axes, and how steep its edge is (1 over the width of the edge in half axes). An eye's crop
shows its corners 20 pixels from the middle, and lids 4 to 8."""

_SIZE_PX = 64
_BLURRED_TO = 5
"""Blurred surroundings are the picture's means on so many squares by so many."""


def with_other_surroundings(
    both: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows
) -> tf.Tensor:
    """Replaces all outside of a random ellipse around the eye, in a share of the pairs.

    The surroundings become blurred, or those of the same picture turned upside down, mirrored, or
    both: of the same skin and light, and of no face that could be turned in any direction.

    Args:
        both: [B, H, W, 6] in [-1, 1], the pair.
        share: how many of the pairs.
        rows: which rows of the batch these are.
    """
    height, width = both.shape[1], both.shape[2]
    seeds = tf.random.experimental.stateless_split(seed, 5)
    unit = width / _SIZE_PX

    def drawn(limits: tuple[float, float], of: tf.Tensor) -> tf.Tensor:
        return rows.uniform([1, 1], of, low=limits[0], high=limits[1])

    x = tf.range(width, dtype=tf.float32)[None, None, :] - (width - 1) / 2
    y = tf.range(height, dtype=tf.float32)[None, :, None] - (height - 1) / 2
    centres = tf.random.experimental.stateless_split(seeds[0], 2)
    axes = tf.random.experimental.stateless_split(seeds[1], 2)
    across = (x - unit * drawn(_CENTRE_PX, centres[0])) / (unit * drawn(_HALF_WIDTH_PX, axes[0]))
    down = (y - unit * drawn(_CENTRE_PX, centres[1])) / (unit * drawn(_HALF_HEIGHT_PX, axes[1]))
    beyond = (tf.sqrt(across**2 + down**2) - 1) * drawn(_EDGES, seeds[2])
    outside = tf.clip_by_value(beyond, 0, 1)[..., None]
    chosen = tf.cast(rows.uniform([1, 1, 1], seeds[3]) < share, tf.float32)
    kind = rows.whole([], seeds[4], low=0, high=6)[:, None, None, None]
    small = tf.image.resize(both, [_BLURRED_TO, _BLURRED_TO], "area")
    blurred = tf.image.resize(small, [height, width], "bicubic")
    turned = tf.where(kind % 3 == 0, both[:, ::-1], both)
    turned = tf.where(kind % 3 == 1, both[:, :, ::-1], turned)
    turned = tf.where(kind % 3 == 2, both[:, ::-1, ::-1], turned)
    other = tf.clip_by_value(tf.where(kind < 3, blurred, turned), -1, 1)
    return both + chosen * outside * (other - both)
