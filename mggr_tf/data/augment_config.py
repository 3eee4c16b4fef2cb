"""How far pairs are changed, apart from the changing, so that configs load without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """How far pairs are changed; zeros leave them as they are.

    Attributes:
        brightness: largest shift, in units of the [-1, 1] range.
        contrast: largest relative change of contrast.
        colour: largest relative change of one channel against another.
        shift_px: largest shift of both pictures, in whole pixels.
    """

    brightness: float = 0.15
    contrast: float = 0.25
    colour: float = 0.08
    shift_px: int = 3

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "colour", "shift_px"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
