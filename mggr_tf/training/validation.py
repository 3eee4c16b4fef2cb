"""How good a stage is on people whom it does not train on, while it trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_tf.config import Stage
from mggr_tf.data.schema import EyeSamples
from mggr_tf.models.networks import Networks


@dataclass(frozen=True)
class Validated:
    """What one validation found.

    Attributes:
        metric: the name of the one that counts; the smaller the better.
        metrics: all of them, by name.
        outputs: what the network gave for the first pairs, by name: `flow` and `residual`, in
            network units; empty for an estimator.
    """

    metric: str
    metrics: dict[str, float]
    outputs: dict[str, NDArray[np.float32]]

    @property
    def value(self) -> float:
        """The metric that counts."""
        return self.metrics[self.metric]


class Validation:
    """Asks a stage's networks about fixed pairs, as they are at the moment.

    Args:
        networks: of the run.
        stage: which is being trained.
        samples: of people whom it does not train on.
        pairs: how many pairs.
    """

    def __init__(
        self, networks: Networks, stage: Stage, *, samples: EyeSamples, pairs: int
    ) -> None:
        raise NotImplementedError

    def __call__(self) -> Validated:
        """Validates; nothing changes by it."""
        raise NotImplementedError
