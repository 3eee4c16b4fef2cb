"""Ends a stage early: diverged, or no longer better."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

import tensorflow as tf

_BLOCK = 50
_FAR = 50.0


class Divergence:
    """Looks at each step's metrics, and says when to stop.

    A metric that is no number is bad at once. `loss` has exploded when its mean over a block of
    steps is far above the lowest such mean so far: above it by more than `far` times the loss's
    own size. That is its magnitude at the first step, when nothing was learned yet, or the lowest
    mean's where that is larger, and 1 at least: the loss of an adversarial game begins near zero,
    and may move to both sides.

    What it knows of the past are variables, for a checkpoint to hold. The block that is being
    filled is not: a resumed run may stop some steps earlier or later than the unbroken one.

    Args:
        block: steps.
        far: see above. Sound trainings of the packaged configs stay within 1 or 2, PRGAN's
            Wasserstein game too. A learning rate of 0.5 or 1 gives single steps losses of 1e8 and
            more. (A network that merely collapses, to a loss a few times its size, is for
            validation to tell.)
    """

    def __init__(self, *, block: int = _BLOCK, far: float = _FAR) -> None:
        self._block, self._far = block, far
        self._recent: list[float] = []
        infinity = float("inf")
        self._lowest = tf.Variable(infinity, dtype=tf.float64, trainable=False, name="lowest_loss")
        self._size = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="loss_size")

    def tell(self, values: Mapping[str, float]) -> str | None:
        """Takes note of a step.

        Args:
            values: its metrics; `loss` among them.

        Returns:
            What is wrong, to be put behind `step 123: `; None where nothing is.
        """
        if bad := [name for name, value in values.items() if not abs(value) < float("inf")]:
            return f"{', '.join(bad)} is no longer a number"
        if values.get("loss_scale", math.inf) <= 1.0:
            return (
                "gradients do not fit into float16 any more (compute.precision: bfloat16 has room)"
            )
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
        """Forgets the past: what follows is another loss, or other data."""
        self._lowest.assign(float("inf"))
        self._size.assign(0.0)
        self._recent = []

    @property
    def block(self) -> int:
        """So many of the last steps may belong to an explosion that is noticed now."""
        return self._block

    def state(self) -> dict[str, tf.Variable]:
        """What a checkpoint must hold, by name."""
        return {"lowest_loss": self._lowest, "loss_size": self._size}

    def _exploded(self) -> str | None:
        """Whether the block will be too high even if nothing but the lowest loss follows.

        So the step that did it is the last one seen, and its batch is the one to look into.
        """
        lowest = min(self._recent) if math.isinf(lowest := float(self._lowest)) else lowest
        above = sum(loss - lowest for loss in self._recent) / self._block
        if above <= self._far * max(float(self._size), abs(lowest)):
            return None
        return f"loss has gone up from {lowest:.3g} to {max(self._recent):.3g}: it diverges"


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
