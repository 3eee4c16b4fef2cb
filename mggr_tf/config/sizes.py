"""What a config states of network sizes, amounts of data, and computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BranchSize:
    """Capacity of an encoder-decoder branch.

    Attributes:
        widths: channels of each encoder level; every level after the first halves the size.
        blocks: residual blocks at the lowest level.
        decoder: channels of each decoder level, from low to high.
        stem_stride: 1, or 2 to let the first level halve the size too.
        detail: channels at full resolution behind the decoder, where a fine branch
            that halves its input sees every pixel again; 0 goes without.
        paint: whether a fine branch may paint over the coarse picture, beside adding to it.
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
                f"for {len(self.widths)}"
            )
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        if min(*self.widths, *self.decoder) < 1 or self.blocks < 0 or self.detail < 0:
            raise ValueError("widths and decoder must be positive, blocks and detail not negative")


@dataclass(frozen=True)
class StackSize:
    """Capacity of one of DeepWarp's modules as published: convolutions at one resolution.

    Attributes:
        widths: channels of each convolution.
        kernels: its size in pixels, as many as there are widths.
        stem_stride: 1, or 2 for a module that looks at the picture halved.
    """

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    stem_stride: int = 1

    def __post_init__(self) -> None:
        if not self.widths or len(self.kernels) != len(self.widths):
            raise ValueError("a stack needs widths, and as many kernels")
        if min(*self.widths, *self.kernels) < 1:
            raise ValueError("widths and kernels must be positive")
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {self.stem_stride}")


@dataclass(frozen=True)
class GeneratorSize:
    """Capacity of PRGAN's generator.

    Attributes:
        width: channels of its first layer; two strided layers double it each.
        blocks: residual blocks at the lowest level.
    """

    width: int
    blocks: int = 6

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 0:
            raise ValueError("width must be positive, blocks not negative")


@dataclass(frozen=True)
class SyntheticConfig:
    """How many eyes are drawn when no data is named.

    Attributes:
        subjects: how many people.
        per_group: pictures of one person, side and head pose.
        seed: of the renderer.
        closing_subjects: how many further people are drawn with eyes that close, for the
            estimator's loss `state`, whatever data is named; 24 pictures of each.
        closing_share: part of the estimator's pairs that are drawn of those.
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
    """How packed data is read (see docs/data.md).

    Attributes:
        memory_mb: of pixels; a smaller set is read into memory as a whole.
        chunks: of patches of one person and head pose, between which each row of a batch
            chooses, and which stay in memory for as many steps as they last.
        corrupt_limit: so many corrupt records are left out; one more ends the training.
    """

    memory_mb: int = 1000
    chunks: int = 2
    corrupt_limit: int = 16

    def __post_init__(self) -> None:
        if self.memory_mb < 0 or self.corrupt_limit < 0 or self.chunks < 1:
            raise ValueError("memory_mb and corrupt_limit must be at least 0, chunks at least 1")


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
