"""When a stage has stopped getting better."""

from __future__ import annotations

import tensorflow as tf


class Patience:
    """Knows the best validation so far, and whether to wait for a better one.

    What it knows are variables: a checkpoint holds them, and a resumed run stops
    exactly where the unbroken one would have.

    Args:
        validations: so many without a better one are enough; 0: it waits for ever.
    """

    def __init__(self, validations: int) -> None:
        self._enough = validations
        self._best = tf.Variable(float("inf"), dtype=tf.float64, trainable=False, name="best")
        self._best_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="best_step")
        self._since = tf.Variable(0, dtype=tf.int64, trainable=False, name="since_best")

    def tell(self, step: int, metric: float) -> bool:
        """Takes note of a validation after `step`; returns whether it is the best so far.

        The smaller the better; what is no number is never the best.
        """
        if metric < self.best:
            self._best.assign(metric)
            self._best_step.assign(step)
            self._since.assign(0)
            return True
        self._since.assign_add(1)
        return False

    def begin(self) -> None:
        """Forgets the past: what follows cannot be compared with it."""
        self._best.assign(float("inf"))
        self._best_step.assign(0)
        self._since.assign(0)

    @property
    def best(self) -> float:
        """The best metric so far; infinity before the first."""
        return float(self._best)

    @property
    def best_step(self) -> int:
        """The step after which that was; 0 before the first."""
        return int(self._best_step)

    @property
    def is_over(self) -> bool:
        """Whether the stage should end; also right after a checkpoint was restored."""
        return 0 < self._enough <= int(self._since)

    def state(self) -> dict[str, tf.Variable]:
        """What a checkpoint must hold, by name."""
        return {
            "validation_best": self._best,
            "validation_best_step": self._best_step,
            "validations_since_best": self._since,
        }
