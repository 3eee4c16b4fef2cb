"""Define the config sections for network sizes, amounts of data, checkpoints and computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BranchSize:
    """Size of an encoder-decoder branch.

    Attributes:
        widths: number of channels of each encoder level. Every level after the first level halves
            the resolution.
        blocks: number of residual blocks at the lowest resolution.
        decoder: number of channels of each decoder level, from low to high resolution.
        stem_stride: stride of the first level, 1 or 2. With 2, the first level also halves the
            resolution.
        detail: number of channels of an additional layer after the decoder. This layer has full
            resolution and reads the input pictures again. The layer is useful for a fine branch
            whose first level halves the resolution. The value 0 omits the layer.
        paint: whether a fine branch can replace pixels of the coarse picture. A fine branch always
            adds a residual to the coarse picture.
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
                f"decoder must have one level fewer than widths, got {len(self.decoder)} and "
                f"{len(self.widths)} levels"
            )
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        if min(*self.widths, *self.decoder) < 1 or self.blocks < 0 or self.detail < 0:
            raise ValueError("widths and decoder must be at least 1, blocks and detail at least 0")


@dataclass(frozen=True)
class StackSize:
    """Size of a DeepWarp module as published: a stack of convolutions at one resolution.

    Attributes:
        widths: number of channels of each convolution.
        kernels: kernel size of each convolution in pixels. There are as many values as in `widths`.
        stem_stride: 1 or 2. With 2, average pooling halves the resolution of the input before the
            first convolution.
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
        width: number of channels of the first layer. Each of the two strided layers doubles this
            number.
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
        per_group: number of pictures for each combination of person, side of the eye, and head
            pose.
        seed: seed of the renderer.
        closing_subjects: number of additional synthetic people, with 24 pictures each. The eyes of
            these people are open, closing or closed. The estimator's loss `state` needs these
            people, whichever data set is used.
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
        memory_mb: amount of pixel data in MB. A pack with at most this amount is read completely
            into memory. A larger pack is read in parts.
        chunks: number of chunks in memory for each position of a batch. The pair at this position
            is chosen from these chunks. A chunk contains patches of one person and head pose. A
            chunk stays in memory until each patch of the chunk was used about once.
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
            kept, too.
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
