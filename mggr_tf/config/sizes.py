"""Config sections for network sizes, amounts of data, checkpoints, and computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BranchSize:
    """Size of an encoder-decoder branch.

    Attributes:
        widths: channels of each encoder level; every level after the first halves the resolution.
        blocks: number of residual blocks at the lowest resolution.
        decoder: channels of each decoder level, from low to high resolution.
        stem_stride: stride of the first level, 1 or 2; with 2, the first level also halves the
            resolution.
        detail: channels of a full-resolution layer after the decoder, which reads the input
            pictures again. It is meant for a fine branch whose stem halves the resolution; 0
            omits it.
        paint: whether a fine branch can also replace pixels of the coarse picture, in addition to
            the residual that it adds.
    """

    widths: tuple[int, ...]
    blocks: int
    decoder: tuple[int, ...]
    stem_stride: int = 2
    detail: int = 0
    paint: bool = False

    def __post_init__(self) -> None:
        if len(self.decoder) != len(self.widths) - 1:
            raise ValueError(
                f"decoder must have one level less than widths, got {len(self.decoder)} "
                f"and {len(self.widths)} levels"
            )
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        if min(*self.widths, *self.decoder) < 1 or self.blocks < 0 or self.detail < 0:
            raise ValueError("widths and decoder must be at least 1, blocks and detail at least 0")


@dataclass(frozen=True)
class StackSize:
    """Size of a DeepWarp module as published: a stack of convolutions at one resolution.

    Attributes:
        widths: channels of each convolution.
        kernels: kernel size of each convolution in pixels; as many values as `widths`.
        stem_stride: 1, or 2 for a module whose input has half the resolution.
    """

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    stem_stride: int = 1

    def __post_init__(self) -> None:
        if not self.widths or len(self.kernels) != len(self.widths):
            raise ValueError("widths and kernels must be of equal length, and not empty")
        if min(*self.widths, *self.kernels) < 1:
            raise ValueError("widths and kernels must be at least 1")
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {self.stem_stride}")


@dataclass(frozen=True)
class GeneratorSize:
    """Size of PRGAN's generator.

    Attributes:
        width: channels of the first layer; each of the two strided layers doubles them.
        blocks: number of residual blocks at the lowest resolution.
    """

    width: int
    blocks: int = 6

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 0:
            raise ValueError("width must be at least 1, blocks at least 0")


@dataclass(frozen=True)
class SyntheticConfig:
    """Amount of synthetic data.

    Attributes:
        subjects: number of people in the data set `synthetic`.
        per_group: number of pictures for each combination of person, side and head pose.
        seed: seed of the renderer.
        closing_subjects: number of additional synthetic people with closing eyes, 24 pictures
            each. The estimator's loss `state` needs them with any data set.
        closing_share: share of the estimator's pairs that show these additional people.
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
    """Reading of packed data (see docs/data.md).

    Attributes:
        memory_mb: size of pixel data in MB up to which a pack is read into memory completely.
        chunks: number of chunks that each row of a batch selects its pairs from. A chunk contains
            patches of one person and head pose. Chunks stay in memory until each of their patches
            was used about once.
        corrupt_limit: maximum number of corrupt records that are skipped; one more stops
            training.
    """

    memory_mb: int = 1000
    chunks: int = 2
    corrupt_limit: int = 16

    def __post_init__(self) -> None:
        if self.memory_mb < 0 or self.corrupt_limit < 0 or self.chunks < 1:
            raise ValueError("memory_mb and corrupt_limit must be at least 0, chunks at least 1")


@dataclass(frozen=True)
class CheckpointConfig:
    """Frequency and number of checkpoints.

    Attributes:
        seconds: time between two checkpoints in seconds. Another checkpoint is written after
            every validation that is the best so far.
        keep: number of newest checkpoints that are kept, in addition to the best by validation.
    """

    seconds: float = 60.0
    keep: int = 2

    def __post_init__(self) -> None:
        if self.seconds < 0 or self.keep < 1:
            raise ValueError("seconds must be at least 0, keep at least 1")


@dataclass(frozen=True)
class ComputeConfig:
    """Precision and compilation of training steps. Trained weights are always saved as float32.

    Attributes:
        precision: dtype of the layers of the trained networks. Weights, heads, the warp, losses
            and moving averages are float32. float16 uses loss scaling and needs a GPU. bfloat16
            needs no loss scaling, and is not faster where it is emulated. Frozen networks use
            `models.features_precision` instead.
        xla: whether XLA compiles the whole step.
    """

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False
