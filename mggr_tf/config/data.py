"""What a config says of data: how many eyes are drawn, and how packed data is read."""

from __future__ import annotations

from dataclasses import dataclass


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
