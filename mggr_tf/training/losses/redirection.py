"""Losses between redirected and target pictures.

References:
    [1] Johnson, Alahi, Fei-Fei, Perceptual Losses for Real-Time Style Transfer,
        ECCV 2016, eq. 2.
    [2] Lim, Ye, Geometric GAN, 2017 (hinge loss).
    [3] Wang et al., Image Quality Assessment, IEEE TIP 2004 (SSIM).
    [4] He et al., Photo-Realistic Monocular Gaze Redirection, ICCV 2019 (cycle and
        style losses).
    [5] Zhang et al., The Unreasonable Effectiveness of Deep Features, CVPR 2018 (LPIPS).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.stages import LossName
from mggr_tf.models.stlpips import alex_distance, feature_distance

_ROUND_PX = 0.01


@dataclass(frozen=True)
class LossContext:
    """What a loss may look at.

    Attributes:
        source: [B, H, W, 3], the picture that was redirected.
        picture: [B, H, W, 3], the picture that the loss is put on.
        target: [B, H, W, 3], the real picture of the target gaze.
        flow: [B, H, W, 2], pixels.
        exact_flow: [B, H, W, 2], pixels, the true one; None where no loss asks for it.
        flow_seen: [B, H, W], 1 where the true flow is known, else 0; likewise.
        target_gaze: [B, 2], network units.
        features: frozen feature maps of (a view of) the picture, by name.
        target_features: the same of the target.
        efficientnet: EfficientNet's maps of (the same view of) both, (picture's, target's);
            empty where no loss asks for them.
        seen_gaze: [B, 2], the estimator's angles on the picture, network units; None
            where no loss asks for them.
        verdict: the discriminator's `realness` and `gaze` of the picture; empty
            in stages that have no discriminator.
        cycled: [B, H, W, 3], the redirected picture brought back to the source's
            gaze; None where no loss asks for it.
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
        """Feature maps of the picture and of the target, level by level."""
        return [(ours, self.target_features[name]) for name, ours in self.features.items()]


def l1(context: LossContext) -> tf.Tensor:
    """Mean absolute difference in the [-1, 1] range, [B]."""
    return _mean(tf.abs(context.picture - context.target))


def l2(context: LossContext) -> tf.Tensor:
    """Mean squared difference in the [-1, 1] range, [B]."""
    return _mean(tf.square(context.picture - context.target))


def ssim(context: LossContext) -> tf.Tensor:
    """1 - SSIM [3] over 7 x 7 windows, [B]."""
    score = tf.image.ssim(
        (context.picture + 1) / 2, (context.target + 1) / 2, max_val=1.0, filter_size=7
    )
    return 1.0 - score


def perceptual(context: LossContext) -> tf.Tensor:
    """Mean squared difference of frozen feature maps [1], averaged over levels, [B].

    Each level is divided by the target features' own mean square, so that none
    of them decides by its scale.
    """
    levels = []
    for ours, real in context.maps():
        size = _batch_mean(tf.square(real)) + 1e-6
        levels.append(_mean(tf.square(ours - real)) / size)
    return tf.add_n(levels) / len(levels)


def lpips(context: LossContext) -> tf.Tensor:
    """Learned distance of AlexNet's feature maps [5], [B]; see `mggr_tf/models/stlpips.py`."""
    return alex_distance(dict(context.features), dict(context.target_features))


def efficientnet(context: LossContext) -> tf.Tensor:
    """Distance of EfficientNet's maps, summed over levels, [B].

    LPIPS [5] without learned weights: for this network the package with them has none.
    """
    ours, real = context.efficientnet
    return feature_distance(dict(ours), dict(real))


def style(context: LossContext) -> tf.Tensor:
    """Mean squared difference of Gram matrices [4], averaged over levels, [B].

    Each level is divided by the mean square of the target's own matrices.
    """
    levels = []
    for ours, real in context.maps():
        wanted = _gram(real)
        size = _batch_mean(tf.square(wanted)) + 1e-6
        levels.append(_mean(tf.square(_gram(ours) - wanted)) / size)
    return tf.add_n(levels) / len(levels)


def gaze(context: LossContext) -> tf.Tensor:
    """Squared error of the estimator's angles on the picture, network units, [B]."""
    return tf.reduce_mean(tf.square(context.seen_gaze - context.target_gaze), -1)


def flow_smoothness(context: LossContext) -> tf.Tensor:
    """Mean absolute difference between neighbouring flow vectors, pixels, [B]."""
    flow = context.flow
    across = _mean(tf.abs(flow[:, :, 1:] - flow[:, :, :-1]))
    down = _mean(tf.abs(flow[:, 1:] - flow[:, :-1]))
    return across + down


def exact_flow(context: LossContext) -> tf.Tensor:
    """Mean distance of the flow from the true one where that is known, pixels, [B]."""
    square = tf.reduce_sum(tf.square(context.flow - context.exact_flow), -1)
    off = tf.sqrt(square + _ROUND_PX**2) - _ROUND_PX  # rounded at zero, where a root has no slope
    known = tf.reduce_sum(context.flow_seen, [1, 2]) + 1.0
    return tf.reduce_sum(off * context.flow_seen, [1, 2]) / known


def adversarial(context: LossContext) -> tf.Tensor:
    """Generator's side of either game [2]: minus the score, [B]."""
    return -_mean(context.verdict["realness"])


def discriminator_gaze(context: LossContext) -> tf.Tensor:
    """Squared error of the discriminator's gaze head on the picture, network units, [B]."""
    return tf.reduce_mean(tf.square(context.verdict["gaze"] - context.target_gaze), -1)


def cycle(context: LossContext) -> tf.Tensor:
    """Mean absolute difference of the source and its way there and back [4], [B]."""
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
    """Products of channels, averaged over the picture, [B, C, C]."""
    pixels = tf.cast(tf.shape(features)[1] * tf.shape(features)[2], tf.float32)
    return tf.einsum("bhwc,bhwd->bcd", features, features) / pixels


def _batch_mean(value: tf.Tensor) -> tf.Tensor:
    """[] Mean over everything, of the whole batch also where several replicas share it."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(value))


def _mean(value: tf.Tensor) -> tf.Tensor:
    """Mean over everything but the batch, [B]."""
    return tf.reduce_mean(value, axis=list(range(1, len(value.shape))))


Features = dict[str, tf.Tensor]


class Comparison:
    """Shows pictures to a feature network.

    Args:
        network: model of `eye` [B, H, W, 3], and of `head_pose` where it has that input;
            outputs a dict of feature maps.
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
        """Features of the picture and of the target, float32.

        Args:
            picture, target: [B, H, W, 3] in [-1, 1].
            head: `head_pose` [B, 2].
        """
        # One after the other: through both at once, the way back would lead through the target's
        # half too, for nothing.
        ours = self._features(picture, head)
        real = self._features(target, head)
        return ours, {name: tf.stop_gradient(value) for name, value in real.items()}

    def _features(self, pictures: tf.Tensor, head: Mapping[str, tf.Tensor]) -> Features:
        shown = {"eye": pictures, **head} if self._with_head else pictures
        seen = self._network(shown, training=False)
        return {name: tf.cast(value, tf.float32) for name, value in seen.items()}
