"""Portrait photographs in training batches: selection, redirection, and losses.

An estimator that is trained on synthetic eyes has a gaze error on photographs. For one person, this
error is constant. Different people have different errors. Portraits of people who look into the
camera have a known gaze. Therefore training on portraits can reduce this error. But all portraits
have the same gaze. From these portraits alone, the estimator would learn to predict this gaze for
all images. Therefore training also uses redirected versions of the portraits. The label of a
redirected version is its target gaze [1].

The stage `joint` trains the redirector. The stage `adapted` fine-tunes the estimator on portraits.
A row is one eye in a batch. A replica is one of the devices that share a batch. A patch is a small
image of one eye. A gazemap is an image that encodes a gaze. A gaze in network units is the gaze in
degrees, divided by a scale from the config.

References:
    [1] Yu, Liu, Odobez, Improving Few-Shot User-Specific Gaze Adaptation via Gaze Redirection
        Synthesis, CVPR 2019.
    [2] He et al., Photo-Realistic Monocular Gaze Redirection, ICCV 2019 (cycle loss).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf
from tensorflow import keras

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import image_from_network, redirector_inputs
from mggr_tf.config import Config
from mggr_tf.config.stages import (
    NEEDS_FEATURES,
    STAGES,
    CycledPortraits,
    LossConfig,
    RedirectedPortraits,
    Stage,
)
from mggr_tf.data.augment import Gazemap
from mggr_tf.data.pair_inputs import DrawnPairs, PairInputs
from mggr_tf.data.pairs import pair_dataset
from mggr_tf.data.rows import Batch, Metrics, Shares
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.protocol import Redirect
from mggr_tf.evaluation.trained import redirect_with
from mggr_tf.models.networks import Networks
from mggr_tf.training.losses import LOSSES, LossContext
from mggr_tf.training.losses.redirection import Comparison

PREFIX = "portrait_"
"""Prefix for tensor names of photographs in a batch, and for the names of their losses."""


def portraits_in(batch: Batch) -> Batch:
    """Return the tensors of the photographs in a batch. `PREFIX` is removed from their names."""
    return {
        name.removeprefix(PREFIX): value for name, value in batch.items() if name.startswith(PREFIX)
    }


class PortraitLosses:
    """Losses on P photographs that are redirected to random gazes.

    A cycled image is a photograph after two redirections. The first redirection is to a random
    gaze. The second redirection is back to the gaze of the photograph.

    Args:
        how: weights of the losses.
        losses: losses of the stage. Some of these losses compare feature maps of a redirected image
            with feature maps of its target. These losses also compare a cycled image with its
            photograph.
        redirect: function that runs the redirector in training mode. Its argument is a dict with
            the redirector's inputs.
        back: function that redirects images back to the gazes of the photographs. Its arguments are
            redirected images [P, H, W, 3] and the batch of photographs.
        estimate: function that returns the estimator's gazes [P, 2], network units. Its argument is
            a dict with the estimator's inputs.
        gazemap: function that returns gazemaps [P, H, W, 2] for gazes [P, 2] in degrees.
        conventions: scales of the redirector's inputs and of the estimator's output.
        features: object that computes feature maps. `None` if no loss uses them.
        shown: function that converts images to the views that the feature networks process.
        discriminator: discriminator for redirected photographs. `None` if there is no adversarial
            loss on photographs.
    """

    def __init__(
        self,
        how: CycledPortraits,
        losses: Sequence[LossConfig],
        *,
        redirect: Callable[[Batch], Batch],
        back: Callable[[tf.Tensor, Batch], tf.Tensor],
        estimate: Callable[[Batch], tf.Tensor],
        gazemap: Gazemap,
        conventions: Conventions,
        features: Comparison | None,
        shown: Callable[[tf.Tensor], tf.Tensor],
        discriminator: keras.Model | None,
    ) -> None:
        self._how, self._redirect, self._back = how, redirect, back
        self._gazemap, self._features, self._shown = gazemap, features, shown
        self._estimate = estimate
        self._delta_scale_deg = tf.constant(conventions.delta_scale_deg)
        self._gaze_scale_deg = tf.constant(conventions.gaze_scale_deg)
        self._discriminator = discriminator if how.adversarial else None
        self._compared = tuple(
            loss for loss in losses if loss.name in NEEDS_FEATURES and loss.picture == "redirected"
        )

    def __call__(self, photographs: Batch) -> tuple[tf.Tensor, tf.Tensor, Metrics]:
        """Redirect photographs, and compute the losses.

        Args:
            photographs: photographs of a batch; see `portraits_in`.

        Returns:
            (redirected, loss, terms): `redirected` contains the redirected images [P, H, W, 3].
            `terms` is a dict of the losses, each []. `loss` is the weighted sum of the terms, [].
            All losses are means over the photographs.
        """
        how, eye = self._how, photographs["eye"]
        redirected = self._redirect(photographs)["redirected"]
        terms: Metrics = {"gaze": self._aim(redirected, photographs)}
        if how.cycle:
            terms["cycle"] = self._there_and_back(redirected, photographs)
        if how.identity:
            # `delta` is the target gaze minus an inexact source gaze. The difference below contains
            # only the error of the source gaze, because source and target have the same gaze here.
            shift_deg = photographs["target_gaze"] - photographs["source_gaze"]
            still = {
                **photographs,
                "gazemap": self._gazemap(photographs["source_gaze"]),
                "delta": photographs["delta"] - shift_deg / self._delta_scale_deg,
            }
            kept = self._redirect(still)["redirected"]
            terms["identity"] = tf.reduce_mean(tf.abs(kept - eye))
        if self._discriminator is not None:
            verdict = self._discriminator(redirected, training=True)
            terms["adversarial"] = -tf.reduce_mean(verdict["realness"])
        loss = tf.add_n([getattr(how, name) * value for name, value in terms.items()])
        return redirected, loss, {PREFIX + name: value for name, value in terms.items()}

    def _aim(self, redirected: tf.Tensor, photographs: Batch) -> tf.Tensor:
        head = {"head_pose": photographs["head_pose"]}
        before = self._estimate({"eye": photographs["eye"], **head})
        after = self._estimate({"eye": redirected, **head})
        context = LossContext(
            source=photographs["eye"],
            picture=redirected,
            target=photographs["eye"],
            flow=tf.zeros_like(redirected[..., :2]),
            target_gaze=photographs["target_gaze"] / self._gaze_scale_deg,
            seen_gaze=photographs["source_gaze"] / self._gaze_scale_deg + after - before,
        )
        return tf.reduce_mean(LOSSES["gaze"](context))

    def _there_and_back(self, redirected: tf.Tensor, photographs: Batch) -> tf.Tensor:
        eye = photographs["eye"]
        cycled = self._back(redirected, photographs)
        context = LossContext(
            source=eye,
            picture=cycled,
            target=eye,
            flow=tf.zeros_like(eye[..., :2]),
            target_gaze=photographs["source_gaze"],
            cycled=cycled,
        )
        terms = [tf.reduce_mean(LOSSES["cycle"](context))]
        if self._features is not None and self._compared:
            head = {"head_pose": photographs["head_pose"]}
            seen, right = self._features(self._shown(cycled), self._shown(eye), head)
            context = replace(context, features=seen, target_features=right)
            terms += [
                loss.weight * tf.reduce_mean(LOSSES[loss.name](context)) for loss in self._compared
            ]
        return tf.add_n(terms)


_BATCH = 64


def redirected_portraits(
    portraits: EyeSamples,
    redirect: Redirect,
    how: RedirectedPortraits,
    *,
    seed: int,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> EyeSamples:
    """Redirect each photographed eye to several random gazes.

    Args:
        portraits: N patches. Their labels are the source gazes.
        redirect: redirector.
        how: number of redirected versions of each patch, and the range of the target gazes.
        seed: seed of the target gazes. The target gazes depend only on the seed.
        conventions: scales of the redirector's inputs.
        progress: progress bar that counts patches.

    Returns:
        N (1 + `how.redirected`) patches. The photographs are first. Each photograph and its
        redirected versions have the same `group`. The label of a redirected version is its target
        gaze.
    """
    count = len(portraits)
    unit = np.random.default_rng(seed).uniform(-1, 1, (how.redirected * count, 2))
    targets_deg = (unit * how.range_deg).astype(np.float32)
    rows = np.tile(np.arange(count), how.redirected)
    made = []
    with progress("redirecting portraits", len(rows)) as advance:
        for first in range(0, len(rows), _BATCH):
            some = slice(first, first + _BATCH)
            inputs = redirector_inputs(
                portraits.images[rows[some]],
                source_deg=portraits.gaze_deg[rows[some]],
                target_deg=targets_deg[some],
                head_deg=portraits.head_deg[rows[some]],
                conventions=conventions,
            )
            made.append(image_from_network(np.asarray(redirect(inputs)["redirected"])))
            advance(len(made[-1]))
    everything = np.concatenate([np.arange(count), rows])
    return EyeSamples(
        images=np.concatenate([portraits.images, *made]),
        gaze_deg=np.concatenate([portraits.gaze_deg, targets_deg]),
        head_deg=portraits.head_deg[everything],
        subject=portraits.subject[everything],
        group=everything.astype(np.int32),
        source=portraits.source,
        licence=portraits.licence,
        mirrored=None if portraits.mirrored is None else portraits.mirrored[everything],
    )


def portraits_of_stage(
    config: Config,
    stage: Stage,
    portraits: EyeSamples,
    networks: Networks,
    *,
    progress: Progress,
) -> EyeSamples | None:
    """Return the photographs that a stage trains on. Call this function once, before the stage.

    Args:
        config: config of the run.
        stage: stage to train.
        portraits: photographs of the run.
        networks: networks of the run. For the stage `adapted`, their redirector with averaged
            weights redirects the photographs.
        progress: progress bar for the redirection.

    Returns:
        The photographs. For the stage `adapted`, also their redirected versions. If the stage uses
        no photographs, `None`.
    """
    how = config.stage(stage).portraits
    if not isinstance(how, RedirectedPortraits):
        return None if how is None else portraits
    return redirected_portraits(
        portraits,
        redirect_with(networks),
        how,
        seed=_seed(config, stage),
        conventions=config.conventions,
        progress=progress,
    )


def with_portraits(
    pairs: tf.data.Dataset,
    config: Config,
    stage: Stage,
    portraits: EyeSamples,
    *,
    shares: Shares,
    steps: tuple[int, int],
) -> tf.data.Dataset:
    """Add photographs to the batches of a stage.

    Each dataset element is the part of a batch for one replica. In the stage `adapted`, the rows of
    the photographs are inserted between the other rows; see `joined`. In the stage `joint`, the
    photographs are separate tensors. Their names are `PREFIX` plus the names of `pair_dataset`.
    There is no `target`, and the target gazes are random.

    Args:
        pairs: batches without photographs.
        config: config of the run.
        stage: stage to train.
        portraits: photographs from `portraits_of_stage`.
        shares: distribution of the photographs over the replicas.
        steps: range [first, last) of the steps in `pairs`.
    """
    how = config.stage(stage).portraits
    if isinstance(how, CycledPortraits):
        single = _photographs(portraits, config, stage, how, shares=shares, steps=steps)
        return tf.data.Dataset.zip((pairs, single)).map(_beside, num_parallel_calls=1)
    photographed = pair_dataset(
        portraits,
        shares=shares,
        seed=_seed(config, stage),
        steps=steps,
        augmentation=config.stage(stage).augmentation,
        conventions=config.conventions,
        with_state=config.asks_for_state(stage),
    )
    return tf.data.Dataset.zip((pairs, photographed)).map(joined, num_parallel_calls=1)


def joined(batch: Batch, more: Batch) -> dict[str, tf.Tensor]:
    """Combine two batches of B and P rows to one batch. The rows of both are evenly mixed.

    Because of this order, the rows of all replicas together have the same order as on a single
    device. The order matters, because dropout depends on the position of a row. `more` may lack
    some values, such as landmarks. These values are NaN in the rows from `more`.
    """
    own, count = batch["eye"].shape[0], more["eye"].shape[0]
    places = [(2 * row + 1) * count for row in range(own)]
    places += [(2 * row + 1) * own for row in range(count)]
    order = tf.constant(np.argsort(places, kind="stable"))
    unknown = {
        name: tf.fill([count, *values.shape[1:]], float("nan")) for name, values in batch.items()
    }
    return {
        name: tf.gather(tf.concat([values, more.get(name, unknown[name])], 0), order)
        for name, values in batch.items()
    }


def _beside(batch: Batch, photographs: Batch) -> dict[str, tf.Tensor]:
    named = {PREFIX + name: value for name, value in photographs.items() if name != "target"}
    return {**batch, **named}


def _photographs(
    portraits: EyeSamples,
    config: Config,
    stage: Stage,
    how: CycledPortraits,
    *,
    shares: Shares,
    steps: tuple[int, int],
) -> tf.data.Dataset:
    """Return batches of photographs with random target gazes.

    A batch depends only on the seed and on the step.
    """
    images = tf.constant(portraits.images)
    gaze, head = tf.constant(portraits.gaze_deg), tf.constant(portraits.head_deg)
    as_inputs = PairInputs(config.stage(stage).augmentation, config.conventions)

    def draw(element: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = shares.rows_of(element)
        step = shares.step_of(element)
        seeds = tf.random.experimental.stateless_split([_seed(config, stage), step], 3)
        chosen = rows.whole([], seeds[0], low=0, high=len(portraits))
        target_deg = rows.signed([2], seeds[1]) * tf.constant(how.range_deg)
        image = tf.gather(images, chosen)
        pairs = DrawnPairs(
            images=(image, image),
            gaze_deg=(tf.gather(gaze, chosen), target_deg),
            head_deg=tf.gather(head, chosen),
        )
        return as_inputs(pairs, seed=seeds[2], rows=rows)

    return (
        tf.data.Dataset.range(*shares.elements(steps))
        .map(draw, num_parallel_calls=1, deterministic=True)
        .prefetch(2)
    )


def _seed(config: Config, stage: Stage) -> int:
    """Return the seed for the photographs. The pairs of the stage have another seed."""
    return config.seed * 101 + 50 + STAGES.index(stage)
