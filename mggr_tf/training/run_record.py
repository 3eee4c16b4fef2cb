"""What a run says of itself in `run.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mggr_tf.data.source import Split

SCHEMA = 1


@dataclass(frozen=True)
class DataRecord:
    """What a run was trained on.

    Attributes:
        source: `synthetic`, or the absolute path of the folder.
        subjects: trained on.
        held_out: left aside, for sheets and validation.
        patches: how many patches of `subjects` there were.
        licence: what it allows.
        fingerprint: of the pictures and labels of `subjects`; None in runs of versions that
            took none.
        earlier: whom it was trained on as well, before its data changed.
    """

    source: str
    subjects: tuple[str, ...]
    held_out: tuple[str, ...]
    patches: int
    licence: str
    fingerprint: str | None = None
    earlier: tuple[str, ...] = ()

    @property
    def seen(self) -> tuple[str, ...]:
        """All that the run was ever trained on."""
        return (*self.subjects, *self.earlier)

    @classmethod
    def of(cls, split: Split) -> DataRecord:
        """Of training data as it was opened."""
        return cls(
            source=split.source,
            subjects=split.train.subjects,
            held_out=split.aside,
            patches=len(split.train),
            licence=split.train.licence,
            fingerprint=split.train.fingerprint(),
        )


@dataclass(frozen=True)
class StageRecord:
    """How far a stage is.

    Attributes:
        steps: the budget, in steps; a budget in minutes became this number.
        done: steps that the newest checkpoint holds.
        complete: whether its weights are in `weights/`.
        minutes: the budget in minutes, where it was given so.
        seconds: time spent so far.
    """

    steps: int
    done: int = 0
    complete: bool = False
    minutes: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class RunRecord:
    """The content of `run.json`.

    Attributes:
        seed: the config's.
        data: what it is trained on.
        stages: how far each one is.
        versions: of the packages that began it.
        git_revision: of the checkout that began it.
        vgg16: the file of the perceptual loss's weights.
        config: what `config.yaml` held when the run was made; None in runs of versions that
            did not write it down.
        changes: what its user changed of config or data while it was trained.
        schema: of this record.
    """

    seed: int
    data: DataRecord
    stages: dict[str, StageRecord] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    vgg16: str | None = None
    config: dict[str, Any] | None = None
    changes: tuple[str, ...] = ()
    schema: int = SCHEMA
