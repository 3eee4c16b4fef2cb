"""Photographs in a stage's batches, beside the pairs of its other data."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from mggr_edge.common.progress import Progress
from mggr_tf.config import Config
from mggr_tf.config.portraits import CycledPortraits, RedirectedPortraits
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.data.pairs import DrawnPairs, PairInputs, pair_dataset
from mggr_tf.data.rows import Shares
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.trained import redirect_with
from mggr_tf.models.networks import Networks
from mggr_tf.training.batch import Batch
from mggr_tf.training.portrait_losses import PREFIX
from mggr_tf.training.redirected_portraits import redirected_portraits


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
