"""End of the training: budget of steps or time, early stopping, and detection of divergence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from mggr_tf.config.stages import Stage
from mggr_tf.runs.folder import RunFolder

_BLOCK = 50
_FAR = 50.0


@dataclass(frozen=True)
class Budget:
    """Training budget. If both values are `None`, the config defines the number of steps.

    Attributes:
        steps: number of steps for each stage.
        minutes: number of minutes for all stages together. The config contains the share of each
            stage.
    """

    steps: int | None = None
    minutes: float | None = None


def minutes_of_each(run: RunFolder, stage: Stage, minutes: float) -> dict[Stage, float]:
    """Divide a time budget between the stages. The config contains the share of each stage.

    A resumed run may already have complete stages. If such a stage had a budget in minutes, it
    still gets its share, because it has already used this time.

    Args:
        run: run to train.
        stage: last stage to train.
        minutes: budget for all stages together.

    Returns:
        Number of minutes for each stage.
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


class Divergence:
    """Detects divergence from the metrics of each step.

    The training diverges in each of these cases:

    - A metric is not a finite number.
    - The loss scale is 1 or less.
    - The loss increases too much. For this check, the steps are divided into blocks. The increase
      is the mean loss of a block, minus the lowest mean of all earlier blocks. The training
      diverges if the increase is more than `far` times the size of the loss.

    The size of the loss is the largest of three numbers: the absolute loss of the first step, the
    absolute value of the lowest mean, and 1. The number 1 is necessary, because an adversarial loss
    starts near zero and can be negative or positive.

    The state is in variables, so that checkpoints contain it. The steps of the current, incomplete
    block are not in the state. Therefore a resumed run may stop a few steps earlier or later than a
    run without interruption.

    Args:
        block: number of steps in a block.
        far: threshold for the increase of the loss. In stable trainings of the packaged configs,
            the increase is at most 1 or 2 times the size of the loss. This includes the Wasserstein
            loss of PRGAN. With a learning rate of 0.5 or 1, single steps have losses of 1e8 and
            more. An increase of a few times the size of the loss is detected only by the
            validation.
    """

    def __init__(self, *, block: int = _BLOCK, far: float = _FAR) -> None:
        self._block, self._far = block, far
        self._recent: list[float] = []
        infinity = float("inf")
        self._lowest = tf.Variable(infinity, dtype=tf.float64, trainable=False, name="lowest_loss")
        self._size = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="loss_size")

    def tell(self, values: Mapping[str, float]) -> str | None:
        """Record the metrics of a step.

        Args:
            values: metrics of the step, including `loss`.

        Returns:
            Description of the divergence, for an error message. `None` if there is no divergence.
        """
        if bad := [name for name, value in values.items() if not abs(value) < float("inf")]:
            return f"{', '.join(bad)} is not a finite number"
        if values.get("loss_scale", math.inf) <= 1.0:
            return "gradients overflow in float16 (compute.precision: bfloat16 has a larger range)"
        self._recent.append(values["loss"])
        if not float(self._size):
            self._size.assign(max(1.0, abs(values["loss"])))
        if reason := self._exploded():
            return reason
        if len(self._recent) == self._block:
            self._lowest.assign(min(statistics.fmean(self._recent), float(self._lowest)))
            self._recent = []
        return None

    def begin(self) -> None:
        """Reset the state. Call this method before steps with another loss or with other data."""
        self._lowest.assign(float("inf"))
        self._size.assign(0.0)
        self._recent = []

    @property
    def block(self) -> int:
        """Maximum number of steps between the start and the detection of a divergence."""
        return self._block

    def state(self) -> dict[str, tf.Variable]:
        """Return the variables that a checkpoint must contain. The keys are their names."""
        return {"lowest_loss": self._lowest, "loss_size": self._size}

    def _exploded(self) -> str | None:
        """Return a description if the loss has increased too much, otherwise `None`.

        If the block is incomplete, the check assumes the lowest loss for the remaining steps. The
        check can then detect a divergence already at the step that causes the divergence. The
        current batch is therefore the batch that caused the divergence.
        """
        lowest = min(self._recent) if math.isinf(lowest := float(self._lowest)) else lowest
        above = sum(loss - lowest for loss in self._recent) / self._block
        if above <= self._far * max(float(self._size), abs(lowest)):
            return None
        return f"the loss diverges: it increased from {lowest:.3g} to {max(self._recent):.3g}"


class Patience:
    """Early stopping after a number of validations without improvement.

    The state is in variables, so that checkpoints contain it. Therefore a resumed run stops at
    exactly the same step as a run without interruption.

    Args:
        validations: the stage stops after this number of consecutive validations without
            improvement. The value 0 disables early stopping.
    """

    def __init__(self, validations: int) -> None:
        self._enough = validations
        self._best = tf.Variable(float("inf"), dtype=tf.float64, trainable=False, name="best")
        self._best_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="best_step")
        self._since = tf.Variable(0, dtype=tf.int64, trainable=False, name="since_best")

    def tell(self, step: int, metric: float) -> bool:
        """Record a validation after `step`, and return whether it is the best so far.

        A smaller metric is better. NaN is never the best metric.
        """
        if metric < self.best:
            self._best.assign(metric)
            self._best_step.assign(step)
            self._since.assign(0)
            return True
        self._since.assign_add(1)
        return False

    def begin(self) -> None:
        """Reset the state. Call this method if later metrics are not comparable to earlier ones."""
        self._best.assign(float("inf"))
        self._best_step.assign(0)
        self._since.assign(0)

    @property
    def best(self) -> float:
        """Best metric of all validations. It is infinity before the first validation."""
        return float(self._best)

    @property
    def best_step(self) -> int:
        """Step of the best validation. It is 0 before the first validation."""
        return int(self._best_step)

    @property
    def is_over(self) -> bool:
        """Whether the stage must stop. The value is also correct after a checkpoint is restored."""
        return 0 < self._enough <= int(self._since)

    def state(self) -> dict[str, tf.Variable]:
        """Return the variables that a checkpoint must contain. The keys are their names."""
        return {
            "validation_best": self._best,
            "validation_best_step": self._best_step,
            "validations_since_best": self._since,
        }
