"""Photographs in a stage's batches, beside the pairs of its other data."""

from __future__ import annotations

import tensorflow as tf

from mggr_edge.progress import Progress
from mggr_tf.config import Config
from mggr_tf.data.pairs import pair_dataset
from mggr_tf.data.rows import Shares
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.trained import redirect_with
from mggr_tf.models.networks import Networks
from mggr_tf.portrait_config import RedirectedPortraits
from mggr_tf.stage_config import STAGES, Stage
from mggr_tf.training.batch import Batch
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
        return None
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
    """A stage's batches with rows of photographs behind the others, replica by replica.

    Args:
        pairs: the batches without them.
        config: of the run.
        stage: which.
        portraits: as `portraits_of_stage` gives them.
        shares: how the photographs' pairs are dealt to replicas.
        steps: of which `pairs` are.
    """
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
    """[B + P, ...] a batch with the rows of another one behind its own.

    What the other one lacks, as landmarks, is unknown there: NaN.
    """
    count = more["eye"].shape[0]
    unknown = {
        name: tf.fill([count, *values.shape[1:]], float("nan")) for name, values in batch.items()
    }
    return {
        name: tf.concat([values, more.get(name, unknown[name])], 0)
        for name, values in batch.items()
    }


def _seed(config: Config, stage: Stage) -> int:
    """Other batches than those of the stage's pairs (see `stage_parts`)."""
    return config.seed * 101 + 50 + STAGES.index(stage)
