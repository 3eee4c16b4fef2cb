"""Capacity of a branch, apart from its layers, so that configs load without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


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
