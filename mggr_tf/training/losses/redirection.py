"""Losses that compare redirected images with target images.

In this file, [B] is the shape of a result with one value for each of the B images of a batch. A
gaze in network units is the gaze in degrees, divided by a scale from the config.

References:
    [1] Johnson, Alahi, Fei-Fei, Perceptual Losses for Real-Time Style Transfer, ECCV 2016, eq. 2.
    [2] Lim, Ye, Geometric GAN, 2017 (hinge loss).
    [3] Wang et al., Image Quality Assessment, IEEE TIP 2004 (SSIM).
    [4] He et al., Photo-Realistic Monocular Gaze Redirection, ICCV 2019 (cycle and style losses).
    [5] Zhang et al., The Unreasonable Effectiveness of Deep Features, CVPR 2018 (LPIPS).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.stages import (
    NEEDS_CYCLE,
    NEEDS_DISCRIMINATOR,
    NEEDS_EFFICIENTNET,
    NEEDS_FEATURES,
    NEEDS_GAZE,
    ON_NO_PICTURE,
    LossConfig,
    LossName,
    StageConfig,
)
from mggr_tf.data.rows import Batch, Metrics
from mggr_tf.models.networks import Networks
from mggr_tf.models.stlpips import alex_distance, feature_distance
from mggr_tf.training.losses.adversary import random_view

_ROUND_PX = 0.01


@dataclass(frozen=True)
class LossContext:
    """Inputs of the loss functions. Inputs that no loss uses can be `None` or empty.

    Attributes:
        source: [B, H, W, 3] source image of the redirection.
        picture: [B, H, W, 3] image that the loss evaluates.
        target: [B, H, W, 3] real image with the target gaze.
        flow: [B, H, W, 2] predicted flow, pixels.
        target_gaze: [B, 2] target gaze, network units.
        features: feature maps of `picture` from a frozen network. The keys are their names. If
            random views are enabled, these are feature maps of a random view of the image.
        target_features: feature maps of `target` from the same network and for the same view.
        efficientnet: feature maps of `picture` and of `target` from EfficientNet. Both are for the
            same view.
        verdict: outputs `realness` and `gaze` of the discriminator for `picture`. In stages without
            a discriminator, this dict is empty.
        seen_gaze: [B, 2] gaze that the estimator predicts for `picture`, network units.
        cycled: [B, H, W, 3] cycled image. This is the redirected image after a second redirection,
            back to the gaze of the source.
        exact_flow: [B, H, W, 2] ground-truth flow, pixels.
        flow_seen: [B, H, W] 1 for pixels with a known ground-truth flow, 0 for other pixels.
    """

    source: tf.Tensor
    picture: tf.Tensor
    target: tf.Tensor
    flow: tf.Tensor
    target_gaze: tf.Tensor
    features: Mapping[str, tf.Tensor] = field(default_factory=dict)
    target_features: Mapping[str, tf.Tensor] = field(default_factory=dict)
    efficientnet: tuple[Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]] = ({}, {})
    verdict: Mapping[str, tf.Tensor] = field(default_factory=dict)
    seen_gaze: tf.Tensor | None = None
    cycled: tf.Tensor | None = None
    exact_flow: tf.Tensor | None = None
    flow_seen: tf.Tensor | None = None

    def maps(self) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Return the feature maps of `picture` and of `target`, for each level of the network."""
        return [(ours, self.target_features[name]) for name, ours in self.features.items()]


def l1(context: LossContext) -> tf.Tensor:
    """Return the mean absolute difference of picture and target, [B]. Pixels are in [-1, 1]."""
    return _mean(tf.abs(context.picture - context.target))


def l2(context: LossContext) -> tf.Tensor:
    """Return the mean squared difference of picture and target, [B]. Pixels are in [-1, 1]."""
    return _mean(tf.square(context.picture - context.target))


def ssim(context: LossContext) -> tf.Tensor:
    """Return 1 - SSIM, [B]. The structural similarity SSIM [3] uses windows of 7 x 7 pixels."""
    score = tf.image.ssim(
        (context.picture + 1) / 2, (context.target + 1) / 2, max_val=1.0, filter_size=7
    )
    return 1.0 - score


def perceptual(context: LossContext) -> tf.Tensor:
    """Return the mean squared difference of feature maps [1], [B].

    The result is an average over the levels of the network. The difference of each level is divided
    by the mean square of the target's feature maps. Without this division, levels with large values
    would have too much weight.
    """
    levels = []
    for ours, real in context.maps():
        size = _batch_mean(tf.square(real)) + 1e-6
        levels.append(_mean(tf.square(ours - real)) / size)
    return tf.add_n(levels) / len(levels)


def lpips(context: LossContext) -> tf.Tensor:
    """Return the LPIPS distance of AlexNet's feature maps [5], [B]; see `alex_distance`."""
    return alex_distance(dict(context.features), dict(context.target_features))


def efficientnet(context: LossContext) -> tf.Tensor:
    """Return the distance of EfficientNet's feature maps, [B].

    The result is a sum over the levels of the network. It is LPIPS [5] without learned weights. The
    package that contains the learned weights has no weights for EfficientNet.
    """
    ours, real = context.efficientnet
    return feature_distance(dict(ours), dict(real))


def style(context: LossContext) -> tf.Tensor:
    """Return the mean squared difference of Gram matrices [4], [B].

    The result is an average over the levels of the network. The difference of each level is divided
    by the mean square of the target's Gram matrices.
    """
    levels = []
    for ours, real in context.maps():
        wanted = _gram(real)
        size = _batch_mean(tf.square(wanted)) + 1e-6
        levels.append(_mean(tf.square(_gram(ours) - wanted)) / size)
    return tf.add_n(levels) / len(levels)


def gaze(context: LossContext) -> tf.Tensor:
    """Return the squared error of the gaze that the estimator predicts for the image, [B].

    The error is in network units.
    """
    return tf.reduce_mean(tf.square(context.seen_gaze - context.target_gaze), -1)


def flow_smoothness(context: LossContext) -> tf.Tensor:
    """Return the mean absolute difference between the flows of neighbouring pixels, [B].

    The difference is in pixels.
    """
    flow = context.flow
    across = _mean(tf.abs(flow[:, :, 1:] - flow[:, :, :-1]))
    down = _mean(tf.abs(flow[:, 1:] - flow[:, :-1]))
    return across + down


def exact_flow(context: LossContext) -> tf.Tensor:
    """Return the mean distance between the flow and the ground-truth flow, [B].

    The distance is in pixels. Only pixels with a known ground-truth flow are included.
    """
    square = tf.reduce_sum(tf.square(context.flow - context.exact_flow), -1)
    # Smooth the distance near zero, because the gradient of the square root is not finite at zero.
    off = tf.sqrt(square + _ROUND_PX**2) - _ROUND_PX
    known = tf.reduce_sum(context.flow_seen, [1, 2]) + 1.0
    return tf.reduce_sum(off * context.flow_seen, [1, 2]) / known


def adversarial(context: LossContext) -> tf.Tensor:
    """Return the adversarial loss of the generator [2], [B].

    For both types of adversarial loss, it is the negative mean score of the discriminator.
    """
    return -_mean(context.verdict["realness"])


def discriminator_gaze(context: LossContext) -> tf.Tensor:
    """Return the squared error of the gaze that the discriminator predicts for the image, [B].

    The error is in network units.
    """
    return tf.reduce_mean(tf.square(context.verdict["gaze"] - context.target_gaze), -1)


def cycle(context: LossContext) -> tf.Tensor:
    """Return the mean absolute difference between the source and the cycled image [4], [B]."""
    return _mean(tf.abs(context.cycled - context.source))


LOSSES: dict[LossName, Callable[[LossContext], tf.Tensor]] = {
    "l1": l1,
    "l2": l2,
    "ssim": ssim,
    "perceptual": perceptual,
    "lpips": lpips,
    "efficientnet": efficientnet,
    "style": style,
    "gaze": gaze,
    "flow_smoothness": flow_smoothness,
    "exact_flow": exact_flow,
    "cycle": cycle,
    "adversarial": adversarial,
    "discriminator_gaze": discriminator_gaze,
}


def _gram(features: tf.Tensor) -> tf.Tensor:
    """Return the Gram matrices, [B, C, C]: the mean product of each pair of channels."""
    pixels = tf.cast(tf.shape(features)[1] * tf.shape(features)[2], tf.float32)
    return tf.einsum("bhwc,bhwd->bcd", features, features) / pixels


def _batch_mean(value: tf.Tensor) -> tf.Tensor:
    """Return the mean over all elements, []. It includes the elements on all devices."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(value))


def _mean(value: tf.Tensor) -> tf.Tensor:
    """Return the mean over all axes except the batch, [B]."""
    return tf.reduce_mean(value, axis=list(range(1, len(value.shape))))


Features = dict[str, tf.Tensor]


class Comparison:
    """Function object that computes the feature maps of an image and of its target.

    Args:
        network: model that returns a dict of feature maps. It has the input `eye` [B, H, W, 3], and
            optionally the input `head_pose`.
    """

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._with_head = len(network.inputs) > 1

    def __call__(
        self,
        picture: tf.Tensor,
        target: tf.Tensor,
        head: Mapping[str, tf.Tensor],
    ) -> tuple[Features, Features]:
        """Return the float32 feature maps of the image and of the target.

        Args:
            picture: [B, H, W, 3] image. Pixels are in [-1, 1].
            target: [B, H, W, 3] target. Pixels are in [-1, 1]. The function computes no gradient
                for the target.
            head: dict with `head_pose` [B, 2].
        """
        # Process both images separately. For one combined batch, TensorFlow would also compute the
        # gradient for the target, which is not needed.
        ours = self._features(picture, head)
        real = self._features(target, head)
        return ours, {name: tf.stop_gradient(value) for name, value in real.items()}

    def _features(self, pictures: tf.Tensor, head: Mapping[str, tf.Tensor]) -> Features:
        shown = {"eye": pictures, **head} if self._with_head else pictures
        seen = self._network(shown, training=False)
        return {name: tf.cast(value, tf.float32) for name, value in seen.items()}


class Objective:
    """Losses of a stage that trains a redirector, including the network outputs that they need.

    Args:
        networks: all networks.
        config: config of the stage.
        updates: [] int64 number of optimizer updates of the redirector. Random views depend on it.

    Attributes:
        features: object that computes the feature maps for the losses that compare them. `None` if
            there is no such loss.
        has_cycle: whether a loss uses cycled images.
    """

    def __init__(self, networks: Networks, config: StageConfig, *, updates: tf.Variable) -> None:
        names = {loss.name for loss in config.active}
        self._networks, self._losses, self._updates = networks, config.active, updates
        self._gaze_scale = tf.constant(networks.config.conventions.gaze_scale_deg)
        self._seed = networks.config.seed
        self._random_views = networks.config.models.random_views
        self._estimator = networks.estimator if names & NEEDS_GAZE else None
        # Create these networks here. If they were created while TensorFlow traces the step, their
        # weights would be lost.
        self.features = Comparison(networks.features) if names & NEEDS_FEATURES else None
        self._efficientnet = (
            Comparison(networks.efficientnet) if names & NEEDS_EFFICIENTNET else None
        )
        self._judged = bool(names & NEEDS_DISCRIMINATOR)
        self.has_cycle = bool(names & NEEDS_CYCLE)

    def total(self, terms: Metrics) -> tf.Tensor:
        """Return the weighted sum [] of the losses from `terms`."""
        return tf.add_n([config.weight * terms[_label(config)] for config in self._losses])

    def terms(self, pictures: Batch, batch: Batch, *, cycled: tf.Tensor | None) -> Metrics:
        """Return a dict of all losses in the config, each [].

        Args:
            pictures: outputs of the redirector.
            batch: batch that the outputs were computed from.
            cycled: redirected images after a second redirection, back to the gaze of the source.
                `None` if no loss uses them.
        """
        looked_at = {loss.picture for loss in self._losses if loss.name not in ON_NO_PICTURE}
        # The losses in `ON_NO_PICTURE` do not use `picture`. Therefore any image can be used here.
        without = LossContext(
            source=batch["eye"],
            picture=pictures["coarse"],
            target=batch["target"],
            flow=pictures["flow"],
            target_gaze=batch["target_gaze"] / self._gaze_scale,
            cycled=cycled,
            exact_flow=batch.get("flow"),
            flow_seen=batch.get("flow_seen"),
        )
        contexts = {
            name: self._context(without, pictures[name], batch) for name in sorted(looked_at)
        }
        return {
            _label(loss): tf.reduce_mean(
                LOSSES[loss.name](without if loss.name in ON_NO_PICTURE else contexts[loss.picture])
            )
            for loss in self._losses
        }

    def _context(self, without: LossContext, picture: tf.Tensor, batch: Batch) -> LossContext:
        """Return the inputs of the losses on one image, including network outputs for this image.

        Args:
            without: context with the inputs that do not depend on the image.
            picture: [B, H, W, 3] image.
            batch: batch that `picture` was computed from.
        """
        head = {"head_pose": batch["head_pose"]}
        features: dict[str, tf.Tensor] = {}
        target_features: dict[str, tf.Tensor] = {}
        efficientnet: tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]] = ({}, {})
        verdict, seen_gaze = {}, None
        # Both feature networks get the same view. Therefore the gradient of the view is computed
        # only once.
        shown = self.shown(picture), self.shown(batch["target"])
        if self.features is not None:
            features, target_features = self.features(*shown, head)
        if self._efficientnet is not None:
            efficientnet = self._efficientnet(*shown, head)
        if self._estimator is not None:
            seen_gaze = self.estimate({"eye": picture, **head})
        if self._judged:
            verdict = self._networks.discriminator(picture, training=True)
        return replace(
            without,
            picture=picture,
            features=features,
            target_features=target_features,
            efficientnet=efficientnet,
            verdict=verdict,
            seen_gaze=seen_gaze,
        )

    def estimate(self, inputs: Batch) -> tf.Tensor:
        """Return the gazes [B, 2] that the frozen estimator predicts, network units."""
        assert self._estimator is not None
        return self._estimator(dict(inputs), training=False)["gaze"]

    def shown(self, pictures: tf.Tensor) -> tf.Tensor:
        """Return the images, or random views of them if the config enables random views."""
        if not self._random_views:
            return pictures
        seed = tf.stack([tf.constant(self._seed, tf.int64), self._updates])
        with tf.name_scope("random_view"):
            return random_view(pictures, seed)


def _label(loss: LossConfig) -> str:
    return loss.name if loss.picture == "redirected" else f"{loss.name}_{loss.picture}"
