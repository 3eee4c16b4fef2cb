"""Define the config sections for data, checkpoints and computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SyntheticConfig:
    """Amount of synthetic data.

    Attributes:
        subjects: number of people in the data set `synthetic`.
        per_group: number of pictures for each combination of person, side of the eye, and head
            pose.
        seed: seed of the renderer.
        closing_subjects: number of additional synthetic people, with 24 pictures of each person.
            The eyes of these people are open, closing or closed. The estimator's loss `state` needs
            these people, also for other data sets.
        closing_share: share of the estimator's training pairs that show these additional people.
    """

    subjects: int = 400
    per_group: int = 5
    seed: int = 1
    closing_subjects: int = 150
    closing_share: float = 0.3

    def __post_init__(self) -> None:
        if self.subjects < 1 or self.per_group < 1 or self.seed < 0:
            raise ValueError("subjects and per_group must be at least 1, seed at least 0")
        if self.closing_subjects < 2 or not 0 < self.closing_share <= 1:
            raise ValueError("closing_subjects must be at least 2, closing_share in (0, 1]")


@dataclass(frozen=True)
class PackedConfig:
    """Settings for reading packed data (see docs/data.md).

    A pack is a data set that `mggr-tf data pack` has converted to a few large files.

    Attributes:
        memory_mb: maximum amount of pixel data, in MB, of a pack that is read completely into
            memory. A larger pack is read in parts.
        chunks: number of chunks in memory for each pair of a batch. The pair is chosen from these
            chunks. A chunk contains patches of one person and head pose. A chunk stays in memory
            until each patch of the chunk was used about once.
        corrupt_limit: maximum number of corrupt records that are skipped. The next corrupt record
            stops training.
    """

    memory_mb: int = 1000
    chunks: int = 2
    corrupt_limit: int = 16

    def __post_init__(self) -> None:
        if self.memory_mb < 0 or self.corrupt_limit < 0 or self.chunks < 1:
            raise ValueError("memory_mb and corrupt_limit must be at least 0, chunks at least 1")


@dataclass(frozen=True)
class CheckpointConfig:
    """Settings for how often checkpoints are written and how many are kept.

    Attributes:
        seconds: time between two checkpoints in seconds. A checkpoint is also written after each
            validation with the best result so far.
        keep: number of newest checkpoints that are kept. The checkpoint with the best validation is
            also kept.
    """

    seconds: float = 60.0
    keep: int = 2

    def __post_init__(self) -> None:
        if self.seconds < 0 or self.keep < 1:
            raise ValueError("seconds must be at least 0, keep at least 1")


@dataclass(frozen=True)
class ComputeConfig:
    """Settings for the precision and the compilation of training steps.

    Trained weights are always saved as float32.

    Attributes:
        precision: dtype in which the layers of the trained networks compute. Weights, output
            layers, the warp, losses and moving averages are always float32. `float16` uses loss
            scaling and needs a GPU. `bfloat16` needs no loss scaling. `bfloat16` is not faster on
            machines that emulate bfloat16. Frozen networks use `models.features_precision` instead.
        xla: whether XLA compiles the whole training step.
    """

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False
