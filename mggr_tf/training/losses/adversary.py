"""Losses of the discriminator, and random views for feature networks.

A gaze in network units is the gaze in degrees, divided by a scale from the config. A feature
network is a frozen network whose feature maps are compared in a loss. If the feature network always
got the images without changes, the redirector would learn adversarial patterns. These patterns
reduce the loss, but do not make the images more similar.

Therefore the feature network gets a new random view of the images in each step. In a view, an image
is zoomed, transposed, mirrored and shifted, and its colour channels are permuted. With many views,
the network is similar to an ensemble of networks. There are fewer adversarial patterns for an
ensemble [5]. The first layer of the network has a stride of several pixels. In a zoomed view, this
layer also responds to single pixels.

References:
    [1] Lim, Ye, Geometric GAN, 2017 (hinge loss).
    [2] Arjovsky, Chintala, Bottou, Wasserstein GAN, ICML 2017.
    [3] Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually Converge?, ICML
        2018, eq. 9 (R1).
    [4] Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017, eq. 3.
    [5] Kettunen, Härkönen, Lehtinen, E-LPIPS: Robust Perceptual Image Similarity via Random
        Transformation Ensembles, 2019.
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

    The loss is the sum of the adversarial loss [1, 2] and the gaze error on real images. The
    discriminator does not learn to predict the gaze from generated images.

    Args:
        real: outputs of the discriminator for real images. They are `realness` [B, h, w, 1] and
            `gaze` [B, 2].
        fake: the same outputs of the discriminator for generated images.
        real_gaze: [B, 2] gaze of the real images, network units.
        how: adversarial settings. `how.game` is the type of the adversarial loss.
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
    """Return the gradient penalty of the discriminator, [B].

    The caller multiplies it by its weight. There are two penalties. The penalty `real` is half of
    the squared gradient norm on real images [3]. The penalty `between` uses blends of real and
    generated images [4]. It is the squared difference between the gradient norm and 1.

    Args:
        realness: function that returns scores [B, h, w, 1] for images. The scores of each image are
            averaged.
        real: [B, H, W, 3] real images.
        fake: [B, H, W, 3] generated images.
        how: adversarial settings. `how.penalty` is the name of the penalty.
        mix: [B, 1, 1, 1] weight of the real image in each blend, in [0, 1].
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
"""Difference in width between an image and its views, pixels. The difference in height is the same.
"""

LARGEST_ZOOM = 3.0
"""Largest zoom. At this zoom, one pixel of the image covers 3 x 3 pixels of the view."""


_SHARPNESS = -0.5
"""Parameter of Keys' cubic interpolation kernel. `tf.image.resize` uses the same value."""


def random_view(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return a random view of the images of a batch. All images have the same view.

    The function chooses a square part of the images at random. It enlarges this part to the size of
    the view. The zoom is uniformly distributed on a logarithmic scale. At random, the function also
    transposes and mirrors the result, and permutes its channels.

    Args:
        pictures: [B, H, W, C] images with H = W.
        seed: [2] integers. Equal seeds give equal views. To compare two batches of images, use the
            same seed for both.

    Returns:
        [B, H - MARGIN_PX, W - MARGIN_PX, C] views.
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
    # Nearly all operations are matrix products, because the gradient of a matrix product is also a
    # matrix product. The gradients of crop, mirror and gather operations are slower, because they
    # fill whole images with zeros.
    view = _each_column(down, pictures)
    view = tf.matmul(across, view)
    view = tf.tensordot(view, tf.one_hot(order, channels, axis=0), 1)
    return tf.cond(coins[2], lambda: tf.transpose(view, [0, 2, 1, 3]), lambda: view)


def _each_column(matrix: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Multiply a matrix [N, H] by each column of images [B, H, W, C]. Return [B, N, W, C]."""
    height, width, channels = pictures.shape[1:]
    columns = tf.reshape(pictures, [-1, height, width * channels])
    return tf.reshape(tf.matmul(matrix, columns), [-1, matrix.shape[0], width, channels])


def _closer(size: int, place: tf.Tensor, distance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return two matrices that enlarge a random square to a view.

    The first matrix enlarges the columns, and the second matrix enlarges the rows.
    """
    shown = size - MARGIN_PX
    zoom = tf.exp(tf.random.stateless_uniform([], distance) * math.log(LARGEST_ZOOM))
    side = tf.cast(tf.round(shown / zoom), tf.int32)
    corner = tf.random.stateless_uniform([2], place, 0, size - side + 1, tf.int32)
    return tuple(enlarging(size, corner[axis], side, shown=shown) for axis in (0, 1))


def enlarging(size: int, first: tf.Tensor, count: tf.Tensor, *, shown: int) -> tf.Tensor:
    """Return a matrix that enlarges a part of a pixel row by cubic interpolation.

    The interpolation is the same as in `tf.image.resize`.

    Args:
        size: number of pixels in the row.
        first: [] int32 index of the first pixel of the part.
        count: [] int32 number of pixels in the part. Pixels outside the part have a weight of 0.
        shown: number of pixels in the result.

    Returns:
        [shown, size] float32 matrix. The sum of each matrix row is 1.
    """
    count = tf.cast(count, tf.float32)
    at = (tf.range(shown, dtype=tf.float32) + 0.5) * (count / shown) - 0.5
    pixels = tf.range(size, dtype=tf.float32) - tf.cast(first, tf.float32)
    weights = _keys(tf.abs(pixels - at[:, None]))
    inside = (pixels >= 0) & (pixels < count)
    weights = tf.where(inside, weights, 0.0)
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def _keys(d: tf.Tensor) -> tf.Tensor:
    """Return the weights of Keys' cubic kernel for the distances `d`, pixels."""
    a = _SHARPNESS
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return tf.where(d < 1, near, tf.where(d < 2, far, 0.0))
