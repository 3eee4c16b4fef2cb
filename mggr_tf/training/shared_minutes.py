"""A budget in minutes, shared by the stages that are trained with it."""

from __future__ import annotations

from mggr_tf.config.stages import Stage
from mggr_tf.runs.folder import RunFolder


def minutes_of_each(run: RunFolder, stage: Stage, minutes: float) -> dict[Stage, float]:
    """Each stage's part of a budget, as the config shares it.

    A resumed run's complete stages had their part of it.

    Args:
        run: what is trained within.
        stage: the last one to train.
        minutes: for all stages together.
    """
    records = run.record.stages
    had = {name for name, record in records.items() if record.minutes is not None}
    stages = (*run.config.needed(stage), stage)
    shares = {
        name: run.config.stage(name).share
        for name in stages
        if name in had or not run.is_complete(name)
    }
    return {name: minutes * (share / sum(shares.values())) for name, share in shares.items()}
