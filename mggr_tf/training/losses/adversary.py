"""Losses of the discriminator, and random views for feature networks.

A redirector that is trained against one fixed feature network learns adversarial patterns, which
reduce the loss of that network only. Therefore each step shows the network a new random view of
the images: zoomed, transposed, mirrored, shifted and with permuted colour channels. These views
make the network an ensemble, which has fewer adversarial patterns [5]. In a zoomed view, the
strided first layer of the network also responds to single pixels.

References:
    [1] Lim, Ye, Geometric GAN, 2017 (hinge loss).
    [2] Arjovsky, Chintala, Bottou, Wasserstein GAN, ICML 2017.
    [3] Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually
        Converge?, ICML 2018, eq. 9 (R1).
    [4] Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017, eq. 3.
    [5] Kettunen, Härkönen, Lehtinen, E-LPIPS: Robust Perceptual Image Similarity via
        Random Transformation Ensembles, 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import tensorflow as tf

from mggr_tf.config.stages import AdversaryConfig

_HALF = 0.5


def discriminator_loss(
    real: Mapping[str, tf.Tensor],
    fake: Mapping[str, tf.Tensor],
    *,
    real_gaze: tf.Tensor,
    how: AdversaryConfig,
    with_gaze: bool,
) -> tf.Tensor:
    """Return the loss of the discriminator, [B].

    It is the adversarial loss of the chosen game [1, 2], plus the gaze error on real images. The
    gaze head is trained on real images only; generated images are only evaluated by it.

    Args:
        real: outputs of the discriminator for real images: `realness` [B, h, w, 1] and
            `gaze` [B, 2].
        fake: outputs of the discriminator for generated images, as `real`.
        real_gaze: [B, 2] gaze of the real images, network units.
        how: adversarial settings.
        with_gaze: whether the discriminator also learns to predict the gaze.
    """
    if how.game == "hinge":
        score = tf.nn.relu(1.0 - real["realness"]) + tf.nn.relu(1.0 + fake["realness"])
    else:
        score = fake["realness"] - real["realness"]
    loss = tf.reduce_mean(score, [1, 2, 3])
    if with_gaze:
        off = tf.reduce_mean(tf.square(real["gaze"] - real_gaze), -1)
        loss += how.gaze_weight * off
    return loss


def gradient_penalty(
    realness: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    *,
    how: AdversaryConfig,
    mix: tf.Tensor,
) -> tf.Tensor:
    """Return the gradient penalty of the discriminator, [B], unweighted.

    Args:
        realness: function from images to scores [B, h, w, 1], which are averaged per image.
        real: [B, H, W, 3] real images.
        fake: [B, H, W, 3] generated images.
        how: adversarial settings. The penalty `real` is half the squared gradient norm on real
            images [3]; `between` is the squared deviation of the gradient norm from 1 on blends
            of real and generated images [4].
        mix: [B, 1, 1, 1] fraction of `real` in a blend, in [0, 1].
    """
    at = real if how.penalty == "real" else mix * real + (1 - mix) * fake
    with tf.GradientTape() as tape:
        tape.watch(at)
        score = tf.reduce_mean(realness(at), [1, 2, 3])
    squares = tf.reduce_sum(tf.square(tape.gradient(score, at)), [1, 2, 3])
    if how.penalty == "real":
        return _HALF * squares
    return tf.square(tf.sqrt(squares + 1e-12) - 1.0)


MARGIN_PX = 8
"""Difference between the width of an image and the width of its views; the same for the height."""

LARGEST_ZOOM = 3.0
"""Largest zoom: number of view pixels per image pixel, in each direction."""


_SHARPNESS = -0.5
"""Parameter of Keys' cubic kernel, as in `tf.image.resize`."""


def random_view(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return the same random view of all images of a batch.

    Args:
        pictures: [B, H, W, C] with H = W. Use the same seed for images that are to be compared.
        seed: [2] integers; the view is a pure function of the seed.

    Returns:
        [B, H - MARGIN_PX, W - MARGIN_PX, C]: a square crop at a random position, enlarged to this
        size (zooms are uniform on a logarithmic scale), randomly transposed and mirrored, with
        randomly permuted channels.
    """
    seeds = tf.random.experimental.stateless_split(seed, 4)
    size, channels = pictures.shape[1], pictures.shape[-1]
    coins = tf.random.stateless_uniform([3], seeds[1]) < 0.5
    order = tf.argsort(tf.random.stateless_uniform([channels], seeds[2]))
    down, across = (
        tf.where(coin, matrix[::-1], matrix)
        for coin, matrix in zip(
            (coins[0], coins[1]), _closer(size, seeds[0], seeds[3]), strict=True
        )
    )
    # All operations are matrix products, because the gradient of a matrix product is a matrix
    # product, too. The gradients of cropping, mirroring and gathering would fill whole images with
    # zeros.
    view = _each_column(down, pictures)
    view = tf.matmul(across, view)
    view = tf.tensordot(view, tf.one_hot(order, channels, axis=0), 1)
    return tf.cond(coins[2], lambda: tf.transpose(view, [0, 2, 1, 3]), lambda: view)


def _each_column(matrix: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Multiply a matrix [N, H] by each column of images [B, H, W, C]; return [B, N, W, C]."""
    height, width, channels = pictures.shape[1:]
    columns = tf.reshape(pictures, [-1, height, width * channels])
    return tf.reshape(tf.matmul(matrix, columns), [-1, matrix.shape[0], width, channels])


def _closer(size: int, place: tf.Tensor, distance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the matrices that enlarge a random square to a view: for columns and for rows."""
    shown = size - MARGIN_PX
    zoom = tf.exp(tf.random.stateless_uniform([], distance) * math.log(LARGEST_ZOOM))
    side = tf.cast(tf.round(shown / zoom), tf.int32)
    corner = tf.random.stateless_uniform([2], place, 0, size - side + 1, tf.int32)
    return tuple(enlarging(size, corner[axis], side, shown=shown) for axis in (0, 1))


def enlarging(size: int, first: tf.Tensor, count: tf.Tensor, *, shown: int) -> tf.Tensor:
    """Return a matrix that enlarges a range of pixels of a row by cubic interpolation.

    The interpolation equals that of `tf.image.resize`.

    Args:
        size: number of pixels of the row.
        first: [] int32 first pixel of the range.
        count: [] int32 number of pixels of the range. Pixels outside have no weight.
        shown: number of pixels of the result.

    Returns:
        [shown, size] float32; each row sums to 1.
    """
    count = tf.cast(count, tf.float32)
    at = (tf.range(shown, dtype=tf.float32) + 0.5) * (count / shown) - 0.5
    pixels = tf.range(size, dtype=tf.float32) - tf.cast(first, tf.float32)
    weights = _keys(tf.abs(pixels - at[:, None]))
    inside = (pixels >= 0) & (pixels < count)
    weights = tf.where(inside, weights, 0.0)
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def _keys(d: tf.Tensor) -> tf.Tensor:
    """Return the weights of Keys' cubic kernel at distances `d` in pixels."""
    a = _SHARPNESS
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return tf.where(d < 1, near, tf.where(d < 2, far, 0.0))
