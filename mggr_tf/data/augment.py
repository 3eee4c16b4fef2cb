"""Augment image pairs (change the images at random) and render gaze maps.

All functions run inside the TensorFlow graph. Both images of a pair get the same changes, but
different sensor noise. The changes depend only on a seed. The changed images include proportions
and colours that the renderer of the synthetic eyes does not produce. `mggr_tf.data.occluders` adds
occluders (objects in front of the eye).

`with_other_surroundings` replaces the brow, the nose and the cheek. A gaze estimator can infer the
direction of the head from these surroundings, and add this direction to the direction of the eye in
the head. The estimator learns this relation from synthetic brows, but the relation is wrong for
photographs. In a test, blurred surroundings in photographs decreased the estimated pitch by four
degrees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mggr_edge.geometry.gaze_map import DEFAULT_EDGE_PX, DEFAULT_K
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.closing_eyes import EyeStates, with_occlusion, with_openness
from mggr_tf.data.occluders import occlude
from mggr_tf.data.rows import Rows
from mggr_tf.drawn_eyes.rendered import OUTLINE_POINTS

_LEAST_VARIANCE = 1e-6


class Stretched(NamedTuple):
    """The result of `stretched`.

    Attributes:
        both: [B, H, W, 6], the two images of the pairs.
        points: [B, K, 2] pixels (x, y), moved with the images. `None` if no points were given.
        taller: [B], factors by which the ratio of height to width of the eye openings changed.
    """

    both: tf.Tensor
    points: tf.Tensor | None
    taller: tf.Tensor


def stretched(
    both: tf.Tensor, points: tf.Tensor | None, *, seed: tf.Tensor, limit: float, rows: Rows
) -> Stretched:
    """Change the height and the width of eyes, and tilt the line through the eye corners.

    Pixels outside the original image repeat the pixels at its border.

    Args:
        both: [B, H, W, 6], the two images of the pairs.
        points: [B, K, 2] pixels (x, y) to move with the images. `None` means no points.
        seed: [2] integers, seed of the whole batch.
        limit: maximum absolute logarithm of the height factor. For the width factor, the maximum is
            two thirds of `limit`. The tilt shifts each point vertically by up to `limit` / 2 times
            its horizontal distance from the centre.
        rows: rows of the batch that the pairs belong to.
    """
    height, width = both.shape[1], both.shape[2]
    tall, wide, slant = tf.unstack(limit * rows.signed([], seed, before=(3,)))
    per_x, per_y = tf.exp(-2 / 3 * wide), tf.exp(-tall)
    slant = slant / 2
    x, y = (width - 1) / 2, (height - 1) / 2
    # These coefficients of (x, y, 1) map each output pixel to a position in the input image.
    nothing = tf.zeros_like(tall)
    from_x = (per_x, nothing, x * (1 - per_x))
    from_y = (slant, per_y, y * (1 - per_y) - slant * x)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=both,
        transforms=tf.stack([*from_x, *from_y, nothing, nothing], 1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    moved = tf.ensure_shape(moved, both.shape)
    taller = tf.exp(tall - 2 / 3 * wide)
    if points is None:
        return Stretched(moved, None, taller)
    new_x = (points[..., 0] - from_x[2][:, None]) / per_x[:, None]
    lifted = slant[:, None] * new_x + from_y[2][:, None]
    new_y = (points[..., 1] - lifted) / per_y[:, None]
    return Stretched(moved, tf.stack([new_x, new_y], -1), taller)


def recoloured(both: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows) -> tf.Tensor:
    """Change the colours of some pairs.

    The colour channels are mixed with random weights, or the saturation is reduced, or both. The
    mixing keeps the mean brightness and the contrast of the image. Dark areas stay darker than
    light areas.

    Args:
        both: [B, H, W, 6] in [-1, 1], the two images of the pairs.
        seed: [2] integers, seed of the whole batch.
        share: probability that the channels of a pair are mixed. The saturation is reduced with the
            same probability. The strength of both changes is random.
        rows: rows of the batch that the pairs belong to.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    matrix = rows.normal([3, 3], seeds[0])
    source, target = both[..., :3], both[..., 3:]
    mixed = tf.einsum("bhwk,bkc->bhwc", source, matrix)
    mean, variance = tf.nn.moments(source, [1, 2], keepdims=True)
    mixed_mean, mixed_variance = tf.nn.moments(mixed, [1, 2], keepdims=True)
    light = tf.reduce_mean(source - mean, -1, keepdims=True)
    agree = tf.reduce_sum((mixed - mixed_mean) * light, [1, 2], keepdims=True)
    gain = tf.where(agree < 0, -1.0, 1.0) * tf.sqrt(variance / (mixed_variance + _LEAST_VARIANCE))
    mixing, draining = tf.unstack(rows.uniform([1, 1, 1], seeds[1], before=(2,)))
    chosen = tf.cast(rows.uniform([1, 1, 1], seeds[2], before=(2,)) < share, tf.float32)
    mixing *= chosen[0]
    draining = (1 + draining) / 2 * chosen[1]

    def change(image: tf.Tensor) -> tf.Tensor:
        other = gain * (tf.einsum("bhwk,bkc->bhwc", image, matrix) - mixed_mean) + mean
        image = tf.clip_by_value(image + mixing * (other - image), -1, 1)
        return image + draining * (tf.reduce_mean(image, -1, keepdims=True) - image)

    return tf.concat([change(source), change(target)], -1)


_CENTRE_PX = (-3.5, 3.5)
_HALF_WIDTH_PX = (17.0, 32.0)
_HALF_HEIGHT_PX = (8.0, 24.0)
_EDGES = (2.0, 8.0)
"""The ranges of a random ellipse. The image inside the ellipse stays unchanged. The position of the
centre (relative to the centre of the patch) and the half axes are in pixels of a patch of 64 x 64
pixels. `_EDGES` is the slope of the soft edge, 1 / (width of the edge in units of the half axes).
In an eye patch, the corners of the eye are 20 pixels from the centre. The lids are 4 to 8 pixels
from the centre."""

_SIZE_PX = 64
_BLURRED_TO = 5
"""To blur an image, the program shrinks it to this number of pixels per side, and enlarges it
again."""


def with_other_surroundings(
    both: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows
) -> tf.Tensor:
    """Replace the surroundings of the eye in some pairs.

    The surroundings are everything outside a random ellipse around the eye. A changed copy of the
    same image replaces the surroundings. The copy is blurred, or it is flipped vertically,
    horizontally, or in both directions. The copy has the same skin and light as the original, but
    does not show the direction of the head.

    Args:
        both: [B, H, W, 6] in [-1, 1], the two images of the pairs.
        seed: [2] integers, seed of the whole batch.
        share: probability that a pair is changed, in [0, 1].
        rows: rows of the batch that the pairs belong to.
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


class Changed(NamedTuple):
    """The result of `augment_pair`: pairs after augmentation."""

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
    """Apply the same random changes to both images of a pair.

    Args:
        source, target: [B, H, W, 3] uint8.
        seed: [2] integers, seed of the whole batch.
        how: settings of the random changes.
        rows: rows of the batch that the pairs belong to. `None` means all rows.
        codes: [B, H, W, 2] int8, codes of the flow between the images (`flow_codes`). The codes are
            shifted with the images. The flow vectors themselves do not change.
        landmarks: [B, K, 2] pixels (x, y), landmarks of the source, of the target, or of both
            images.
        state: states of the eyes in both images. Stretching changes the openness of an eye.
            Occluders change the occlusion.

    Returns:
        both images, [B, H, W, 3] float32 in [-1, 1], and the changed codes, landmarks and states.
        The states have the shape [B, 2, 3].
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
        # The offsets are whole pixels (y, x). An offset is the position of the top left corner of
        # the output image in the input image.
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
    """Return all points [B, K, 2] that move with the images: first landmarks, then lid regions."""
    lids = None if state is None else tf.reshape(state.regions, [-1, 2 * OUTLINE_POINTS, 2])
    given = [points for points in (landmarks, lids) if points is not None]
    return tf.concat(given, 1) if given else None


def _lit_otherwise(both: tf.Tensor, seed: tf.Tensor, how: Augmentation, rows: Rows) -> tf.Tensor:
    """Apply a gamma curve, and a brightness factor that changes linearly across the image."""
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
    """Blur or sharpen the images, reduce their resolution, and add noise.

    The two images of a pair have different noise.
    """
    if how.blur == how.noise == how.low_resolution == 0:
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
    if how.low_resolution:
        both = _at_lower_resolution(both, seed + [0, 108], share=how.low_resolution, rows=rows)
    if how.noise:
        deviation = how.noise * rows.uniform([1, 1, 1], seeds[1])
        both += deviation * rows.noise(both.shape[1:], seeds[2])
    return tf.clip_by_value(both, -1, 1)


_LOW_SIDES_PX = (40, 32, 24, 16)
"""Sides in pixels to which images of 64 x 64 pixels are reduced. The device redirects eyes that are
at least 10 pixels wide. The crop of such an eye is 17 pixels wide."""


def _at_lower_resolution(
    both: tf.Tensor, seed: tf.Tensor, *, share: float, rows: Rows
) -> tf.Tensor:
    """Reduce the resolution of some pairs, as if the camera were farther away.

    The images are reduced to a random size of `_LOW_SIDES_PX`, and enlarged again. The device
    enlarges small eyes with the same interpolation.

    Args:
        both: [B, H, W, 6], the two images of the pairs.
        seed: [2] integers, seed of the whole batch.
        share: probability that a pair is changed, in [0, 1].
        rows: rows of the batch that the pairs belong to.
    """
    height, width = both.shape[1], both.shape[2]
    seeds = tf.random.experimental.stateless_split(seed, 2)
    chosen = rows.uniform([1, 1, 1], seeds[0]) < share
    kind = rows.whole([], seeds[1], low=0, high=len(_LOW_SIDES_PX))[:, None, None, None]
    low = both
    for number, side in enumerate(_LOW_SIDES_PX):
        small = tf.image.resize(
            both, [max(1, side * n // _SIZE_PX) for n in (height, width)], "area"
        )
        enlarged = tf.image.resize(small, [height, width], "bilinear")
        low = tf.where(kind == number, enlarged, low)
    return tf.where(chosen, low, both)


def _shift(images: tf.Tensor, offsets: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Shift each image by its own offsets. Missing pixels repeat the pixels at the border."""
    rows = tf.clip_by_value(tf.range(size[0])[None] + offsets[:, :1], 0, size[0] - 1)
    columns = tf.clip_by_value(tf.range(size[1])[None] + offsets[:, 1:], 0, size[1] - 1)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


_IRIS_PLANE = float(np.cos(np.radians(30.0)))
_EPSILON = 1e-6


class Gazemap:
    """Renders gaze maps: images of the iris and the eyeball for a given gaze.

    The argument of a call is [B, 2] float32, (pitch, yaw) in degrees. The result is [B, H, W, 2]
    float32 in [0, 1]. The two channels are (iris, eyeball). See `mggr_edge.geometry.gaze_map` for
    the formula and its source. A property test compares this class with the numpy implementation.
    """

    def __init__(
        self, *, size_px: int = 64, k: float = DEFAULT_K, edge_px: float = DEFAULT_EDGE_PX
    ) -> None:
        self._edge_px = edge_px
        self._r = k * size_px / 2
        axis = tf.range(size_px, dtype=tf.float32) - (size_px - 1) / 2
        self._x, self._y = axis[None, None, :], axis[None, :, None]
        self._eyeball = self._soft_edge(self._r - tf.sqrt(self._x**2 + self._y**2))

    def __call__(self, pitch_yaw_deg: tf.Tensor) -> tf.Tensor:
        radians = pitch_yaw_deg[:, None, None, :] * (np.pi / 180)
        sin_p, cos_p = tf.sin(radians[..., 0]), tf.cos(radians[..., 0])
        sin_y, cos_y = tf.sin(radians[..., 1]), tf.cos(radians[..., 1])
        toward_x, toward_y = sin_y * cos_p, -sin_p
        length = tf.sqrt(toward_x**2 + toward_y**2)
        safe = tf.maximum(length, _EPSILON)
        unit_x = tf.where(length > _EPSILON, toward_x / safe, 1.0)
        unit_y = tf.where(length > _EPSILON, toward_y / safe, 0.0)

        from_x = self._x - self._r * _IRIS_PLANE * toward_x
        from_y = self._y - self._r * _IRIS_PLANE * toward_y
        along_minor = from_x * unit_x + from_y * unit_y
        along_major = from_y * unit_x - from_x * unit_y
        major = self._r / 2
        minor = tf.maximum(major * tf.abs(cos_y * cos_p), _EPSILON)
        q = tf.sqrt((along_minor / minor) ** 2 + (along_major / major) ** 2)
        slope = tf.sqrt((along_minor / minor**2) ** 2 + (along_major / major**2) ** 2)
        iris = self._soft_edge((1 - q) * q / tf.maximum(slope, _EPSILON))
        iris = tf.where(q < 0.5, self._soft_edge((1 - q) * minor), iris)
        return tf.stack([iris, tf.broadcast_to(self._eyeball, tf.shape(iris))], -1)

    def _soft_edge(self, inside_px: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(0.5 + inside_px / self._edge_px, 0.0, 1.0)
