"""Portraits in a batch: as they are, redirected, and the losses on them.

An estimator that learned from drawn eyes errs on photographs by an amount that changes from person
to person. Photographs of people who look into the lens show it what looking into the lens is, but
photographs of one gaze alone would teach it to answer that gaze always. Redirected to other gazes
they are labelled with those [1].

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
from mggr_edge.models.contract import Conventions
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
from mggr_tf.data.pairs import DrawnPairs, PairInputs, pair_dataset
from mggr_tf.data.rows import Batch, Metrics, Shares
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.protocol import Redirect
from mggr_tf.evaluation.trained import redirect_with
from mggr_tf.models.networks import Networks
from mggr_tf.training.losses import LOSSES, LossContext
from mggr_tf.training.losses.redirection import Comparison

PREFIX = "portrait_"
"""Of the names of photographs in a batch and of their losses."""


def portraits_in(batch: Batch) -> Batch:
    """The photographs in a batch, by the names of `pair_dataset` but for `target`."""
    return {
        name.removeprefix(PREFIX): value for name, value in batch.items() if name.startswith(PREFIX)
    }


class PortraitLosses:
    """Losses on photographs that are redirected to random gazes.

    Args:
        how: which, and their weights.
        losses: of the stage; those on feature maps of the redirected picture compare a
            photograph with its way there and back, too.
        redirect: a redirector's inputs to its outputs, while it is trained.
        back: redirected pictures [P, H, W, 3] and the photographs' batch to the pictures
            redirected to where the photographs look.
        estimate: pictures and head poses by the estimator's names to gazes [P, 2], network units.
        gazemap: gazes [P, 2] in degrees to gazemaps [P, H, W, 2].
        conventions: scales of the redirector's inputs and the estimator's output.
        features: what compares feature maps; None without such losses.
        shown: what of pictures feature networks see.
        discriminator: judges redirected photographs; None where it does not see them.
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
        """Redirects photographs and compares.

        Args:
            photographs: see `portraits_in`.

        Returns:
            the redirected pictures [P, H, W, 3]; the weighted sum of all terms, []; and each term
            by its name, [], unweighted. All are means over these photographs.
        """
        how, eye = self._how, photographs["eye"]
        redirected = self._redirect(photographs)["redirected"]
        terms: Metrics = {"gaze": self._aim(redirected, photographs)}
        if how.cycle:
            terms["cycle"] = self._there_and_back(redirected, photographs)
        if how.identity:
            # What is left is the error of the source gaze that the redirector gets.
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
    """Redirects every photographed eye several times.

    Args:
        portraits: [N] patches; their labels are the source gazes.
        redirect: the redirector.
        how: how often, and to which range of gazes.
        seed: of the targets, which depend on nothing else.
        conventions: scales of the redirector's inputs.
        progress: shown the patches that are done.

    Returns:
        [N (1 + redirected)] patches, the photographs first; each group holds one eye, as it was
        photographed and redirected, with its gaze or target gaze as the label.
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
    """The photographs that a stage trains on, made once at its start.

    Args:
        config: of the run.
        stage: which.
        portraits: of the run.
        networks: of the run; its averaged redirector redirects them for `adapted`.
        progress: shown how far it is.

    Returns:
        None where the stage trains on none.
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
    """A stage's batches with photographs, replica by replica.

    In batches of `adapted` their rows stand between the others (`joined`). In those of `joint` they
    have names of their own: `PREFIX` before the names of `pair_dataset`, without `target`; their
    target gazes are random.

    Args:
        pairs: the batches without them.
        config: of the run.
        stage: which.
        portraits: as `portraits_of_stage` gives them.
        shares: how the photographs' pairs are dealt to replicas.
        steps: of which `pairs` are.
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
    """[B + P, ...] a batch with the rows of another one evenly between its own.

    So the rows of several replicas, one after the other, are those that one device has, whose
    dropout goes by the row. What the other one lacks, as landmarks, is unknown there: NaN.
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
    """Photographs with random target gazes; pure functions of the seed and the step."""
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
    """Other batches than those of the stage's pairs (see `stage_parts`)."""
    return config.seed * 101 + 50 + STAGES.index(stage)
