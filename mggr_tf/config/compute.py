"""What a config says of how steps are computed, and how often work is saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CheckpointConfig:
    """How often work is saved, and what is kept of it.

    Attributes:
        seconds: between two checkpoints; one more is made at every best validation.
        keep: so many of the last are kept, and the best by validation.
    """

    seconds: float = 60.0
    keep: int = 2

    def __post_init__(self) -> None:
        if self.seconds < 0 or self.keep < 1:
            raise ValueError("seconds must be at least 0, keep at least 1")


@dataclass(frozen=True)
class ComputeConfig:
    """What a stage computes in while it trains; what it leaves is float32 whatever this says.

    Attributes:
        precision: of the layers of the networks that are trained. Their weights, their heads, the
            warp, losses and moving averages are float32. float16 comes with loss scaling and
            needs a GPU; bfloat16 needs no scaling and gains nothing where it is emulated. (Frozen
            networks have `models.features_precision`.)
        xla: whether a step is compiled as a whole.
    """

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False
