"""Detection of divergence, and early stopping."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

import tensorflow as tf

_BLOCK = 50
_FAR = 50.0


class Divergence:
    """Detector of divergence, which checks the metrics of each step.

    A metric that is not finite is a divergence. So is a loss scale of 1 or less. `loss` has
    exploded if its mean over a block of steps exceeds the lowest block mean so far by more than
    `far` times the size of the loss. This size is the magnitude of the loss at the first step or
    that of the lowest block mean, whichever is larger, and at least 1. The minimum of 1 is needed
    because an adversarial loss starts near zero and may become negative or positive.

    The state is kept in variables, so that checkpoints contain it. The current, incomplete block
    is not part of the state, so a resumed run may stop a few steps earlier or later than an
    uninterrupted one.

    Args:
        block: number of steps in a block.
        far: threshold, in sizes of the loss. Stable trainings of the packaged configs, including
            PRGAN's Wasserstein game, stay within 1 or 2. With a learning rate of 0.5 or 1, single
            steps have losses of 1e8 and more. (A network that only collapses, to a loss of a few
            times its size, is detected by validation instead.)
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
            Description of the divergence, as the text after `step 123: `; None if there is none.
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
        """Reset the state, because the following steps use another loss or other data."""
        self._lowest.assign(float("inf"))
        self._size.assign(0.0)
        self._recent = []

    @property
    def block(self) -> int:
        """Number of the last steps that may already be affected when an explosion is detected."""
        return self._block

    def state(self) -> dict[str, tf.Variable]:
        """Return the variables that a checkpoint must contain, by name."""
        return {"lowest_loss": self._lowest, "loss_size": self._size}

    def _exploded(self) -> str | None:
        """Return a description if the loss has exploded, else None.

        The check assumes that the remaining steps of the block have the lowest loss. Therefore it
        detects the explosion at the step that causes it, and the current batch is the one to
        examine.
        """
        lowest = min(self._recent) if math.isinf(lowest := float(self._lowest)) else lowest
        above = sum(loss - lowest for loss in self._recent) / self._block
        if above <= self._far * max(float(self._size), abs(lowest)):
            return None
        return f"the loss diverges: it increased from {lowest:.3g} to {max(self._recent):.3g}"


class Patience:
    """Early stopping after a number of validations without improvement.

    The state is kept in variables, so that checkpoints contain it and a resumed run stops at
    exactly the same step as an uninterrupted one.

    Args:
        validations: number of consecutive validations without improvement after which the stage
            ends; 0 disables early stopping.
    """

    def __init__(self, validations: int) -> None:
        self._enough = validations
        self._best = tf.Variable(float("inf"), dtype=tf.float64, trainable=False, name="best")
        self._best_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="best_step")
        self._since = tf.Variable(0, dtype=tf.int64, trainable=False, name="since_best")

    def tell(self, step: int, metric: float) -> bool:
        """Record a validation after `step`, and return whether it is the best so far.

        A smaller metric is better; NaN is never the best.
        """
        if metric < self.best:
            self._best.assign(metric)
            self._best_step.assign(step)
            self._since.assign(0)
            return True
        self._since.assign_add(1)
        return False

    def begin(self) -> None:
        """Reset the state, because later metrics are not comparable with earlier ones."""
        self._best.assign(float("inf"))
        self._best_step.assign(0)
        self._since.assign(0)

    @property
    def best(self) -> float:
        """Best metric so far; infinity before the first validation."""
        return float(self._best)

    @property
    def best_step(self) -> int:
        """Step of the best validation; 0 before the first validation."""
        return int(self._best_step)

    @property
    def is_over(self) -> bool:
        """Whether the stage should end; also valid directly after a checkpoint was restored."""
        return 0 < self._enough <= int(self._since)

    def state(self) -> dict[str, tf.Variable]:
        """Return the variables that a checkpoint must contain, by name."""
        return {
            "validation_best": self._best,
            "validation_best_step": self._best_step,
            "validations_since_best": self._since,
        }
