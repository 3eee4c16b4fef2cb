"""Define the plan of a benchmark: its entrants, their budgets, and the data to score.

An entrant is one of the trainings that a benchmark compares. A judge is a gaze estimator that only
scores redirected pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError, UsageError
from mggr_tf.data.names import present_names

Group = Literal["method", "equal-steps", "published-size", "ablation"]


@dataclass(frozen=True)
class BenchmarkEntry:
    """One training of the benchmark.

    Attributes:
        name: name of the entrant, used for its run folder and for its row in tables.
        title: title of the entrant in the report.
        config: name of a packaged config.
        group: group of entrants that are compared with each other.
        changes: changes to the config, of the form `key=value`, as for the option `--set`.
        steps_of: name of another entrant with the same number of training steps. `None` means that
            the entrant has a time budget instead.
    """

    name: str
    title: str
    config: str
    group: Group
    changes: tuple[str, ...] = ()
    steps_of: str | None = None


METHODS = (
    BenchmarkEntry("mggr", "MGGR", "mggr-edge", "method"),
    BenchmarkEntry("deepwarp", "DeepWarp", "deepwarp-edge", "method"),
    BenchmarkEntry("prgan", "PRGAN", "prgan-edge", "method"),
)
"""Entrants of the main comparison. These entrants have equal training time."""

EQUAL_STEPS = (
    BenchmarkEntry(
        "deepwarp-bicubic",
        "DeepWarp with MGGR's bicubic reads",
        "deepwarp-edge",
        "equal-steps",
        ("models.interpolation=bicubic",),
        steps_of="mggr",
    ),
    BenchmarkEntry(
        "deepwarp-steps",
        "DeepWarp, as many steps as MGGR",
        "deepwarp-edge",
        "equal-steps",
        steps_of="mggr",
    ),
    BenchmarkEntry(
        "prgan-steps", "PRGAN, as many steps as MGGR", "prgan-edge", "equal-steps", steps_of="mggr"
    ),
)

PUBLISHED_SIZE = (
    BenchmarkEntry(
        "deepwarp-published",
        "DeepWarp at its published size",
        "deepwarp-paper",
        "published-size",
    ),
    BenchmarkEntry(
        "prgan-published",
        "PRGAN at its published size",
        "prgan-paper",
        "published-size",
        # The published config needs ImageNet weights of VGG-16, which the user must provide. This
        # entrant uses AlexNet instead, whose weights are part of a package.
        ("models.features=alexnet", "models.features_precision=auto"),
    ),
)

CONTROL = "short"
"""Name of the control: the complete MGGR in the group of ablations. All ablations have as many
training steps as the control.

Ablations have an equal number of steps, not equal training time. For a time budget, the duration of
a step is measured when a stage starts, and the number of steps is computed from this duration. If
another program uses the machine at that moment, the number of steps is smaller. The scores of
entrants could then differ only because of different numbers of steps.
"""

ABLATIONS = (
    BenchmarkEntry(CONTROL, "MGGR, complete", "mggr-edge", "ablation"),
    BenchmarkEntry(
        "coarse-only",
        "coarse branch only",
        "mggr-edge",
        "ablation",
        ("recipe=[estimator, coarse]",),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "fine-only",
        "fine branch only, no flow",
        "mggr-edge",
        "ablation",
        (
            "models.coarse=null",
            "recipe=[estimator, joint]",
        ),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "no-gazemap",
        "no gazemap",
        "mggr-edge",
        "ablation",
        ("models.guidance=[delta, head_pose]",),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "no-delta",
        "no angle difference",
        "mggr-edge",
        "ablation",
        ("models.guidance=[gazemap, head_pose]",),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "no-head-pose",
        "no head pose",
        "mggr-edge",
        "ablation",
        ("models.guidance=[gazemap, delta]",),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "no-discriminator",
        "no discriminator",
        "mggr-edge",
        "ablation",
        (
            "stages.joint.losses.adversarial.weight=0",
            "stages.joint.losses.discriminator_gaze.weight=0",
        ),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "no-gaze-head",
        "discriminator without its gaze head",
        "mggr-edge",
        "ablation",
        ("stages.joint.losses.discriminator_gaze.weight=0",),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "bilinear",
        "a bilinear warp",
        "mggr-edge",
        "ablation",
        ("models.interpolation=bilinear",),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "one-stage",
        "one stage: both branches from the start",
        "mggr-edge",
        "ablation",
        ("recipe=[estimator, joint]",),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "deepwarp-form",
        "DeepWarp's form with MGGR's losses",
        "mggr-edge",
        "ablation",
        (
            "method=deepwarp",
            "recipe=[estimator, joint]",
            "models.guidance=[delta, head_pose]",
            "models.coarse={widths: [16, 32, 64], blocks: 2, decoder: [32, 24], stem_stride: 2}",
            "models.fine={widths: [16, 32, 48], blocks: 2, decoder: [32, 24], stem_stride: 2}",
        ),
        steps_of=CONTROL,
    ),
    BenchmarkEntry(
        "prgan-form",
        "PRGAN's form with MGGR's losses",
        "mggr-edge",
        "ablation",
        (
            "method=prgan",
            "recipe=[estimator, joint]",
            "models.guidance=[delta, head_pose]",
            "models.generator={width: 9, blocks: 5}",
            "models.coarse=null",
            "models.fine=null",
        ),
        steps_of=CONTROL,
    ),
)


ENTRANTS = (*METHODS, *EQUAL_STEPS, *PUBLISHED_SIZE, *ABLATIONS)
_FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """Settings of a benchmark that stay the same in all its calls.

    Attributes:
        data: absolute path of the data set, or `synthetic`.
        train: subjects that all entrants are trained on.
        report: subjects that all entrants are scored on.
        minutes: training budget of each method in minutes, for all its stages together.
        ablation_minutes: training budget of the control of the ablations, in minutes. Methods at
            their published size have the same budget. Each ablation has as many training steps as
            the control. For methods at their published size, this budget is too small for a
            complete training.
        judge_steps: number of training steps of each judge.
        folds: number of parts that the reported subjects are divided into. Such a part is called a
            fold. With one fold, there is one judge, which is trained on `train`. With several
            folds, each fold has its own judge. This judge is trained on `train` and on the subjects
            of all other folds.
        pairs: maximum number of scored pairs.
        seed: seed of the entrants' trainings. Judges and pairs do not depend on this seed.

    Raises:
        ValueError: a subject is in `train` and also in `report`. This error is also raised if
            `folds` is out of range.
    """

    data: str
    train: tuple[str, ...]
    report: tuple[str, ...]
    minutes: float
    ablation_minutes: float = 20.0
    judge_steps: int = 5000
    folds: int = 2
    pairs: int = 2000
    seed: int = 1

    def __post_init__(self) -> None:
        if both := sorted(set(self.train) & set(self.report)):
            raise ValueError(f"subjects used for both training and scores: {', '.join(both)}")
        if not 1 <= self.folds <= len(self.report):
            raise ValueError(
                f"folds must lie between 1 and the number of reported subjects, "
                f"{len(self.report)}, got {self.folds}"
            )

    def with_present_names(self, *, seed: int) -> Plan:
        """Return the plan with the current names of synthetic people.

        In earlier versions, the names of synthetic people were numbers.

        Args:
            seed: seed of the people of the data set `synthetic`.
        """
        return replace(
            self,
            train=present_names(self.train, self.data, seed=seed),
            report=present_names(self.report, self.data, seed=seed),
        )

    def minutes_of(self, entrant: BenchmarkEntry) -> float:
        """Return an entrant's training budget in minutes."""
        return self.minutes if entrant.group == "method" else self.ablation_minutes

    def report_folds(self) -> tuple[tuple[str, ...], ...]:
        """Return the reported subjects of each fold. Every subject is in exactly one fold."""
        return tuple(tuple(sorted(self.report)[i :: self.folds]) for i in range(self.folds))

    def judge_subjects(self, fold: int) -> tuple[str, ...]:
        """Return the training subjects of a fold's judge.

        These subjects do not include the reported subjects of the fold.
        """
        if self.folds == 1:
            return self.train
        scored = set(self.report_folds()[fold])
        return (*self.train, *(name for name in sorted(self.report) if name not in scored))


def open_plan(folder: Path, wanted: Plan, *, seed: int = 1) -> Plan:
    """If the folder has no plan, write the plan. Otherwise compare the plan with the stored plan.

    Args:
        folder: folder of the benchmark.
        wanted: requested plan, with the current names of synthetic people.
        seed: seed of the people of the data set `synthetic`.

    Returns:
        the plan in the folder. This plan is equal to `wanted`.

    Raises:
        UsageError: the folder contains a benchmark with another plan. The message then lists the
            differences. This error is also raised if the folder is not empty and contains no
            benchmark.
        ConfigError: the plan in the folder is damaged.
    """
    file = folder / _FILE
    if not file.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(
                f"{folder} is not empty and does not contain a benchmark; choose another folder",
                code="folder-without-plan",
                path=folder,
            )
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(file, force=True) as temporary:
            temporary.write_text(json.dumps(plain(wanted), indent=2) + "\n", encoding="utf-8")
        return wanted
    try:
        there = read(Plan, json.loads(file.read_text(encoding="utf-8")))
        there = there.with_present_names(seed=seed)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{file}: the benchmark's plan is damaged: {error}", code="plan-damaged", path=file
        ) from error
    if there != wanted:
        differing = [
            f"{f.name} {getattr(there, f.name)} -> {getattr(wanted, f.name)}"
            for f in fields(Plan)
            if getattr(there, f.name) != getattr(wanted, f.name)
        ]
        raise UsageError(
            f"{folder} contains a benchmark with another plan: {'; '.join(differing)}; use the "
            "plan of the folder, or choose another folder",
            code="plan-differs",
            path=folder,
            changes="; ".join(differing),
        )
    return there


def chosen(names: Iterable[str] | None) -> tuple[BenchmarkEntry, ...]:
    """Return the entrants with the given names or in the given groups.

    The entrants are in the order of their training.

    Args:
        names: names of entrants or of groups. `None` selects all entrants.

    Raises:
        UsageError: a name is unknown.
    """
    if names is None:
        return ENTRANTS
    wanted = set(names)
    known = {e.name for e in ENTRANTS} | {e.group for e in ENTRANTS}
    if unknown := sorted(wanted - known):
        raise UsageError(
            f"unknown training or group {', '.join(unknown)}; known names: "
            f"{', '.join(sorted(known))}",
            code="entrant-unknown",
            found=", ".join(unknown),
            expected=", ".join(sorted(known)),
        )
    return tuple(e for e in ENTRANTS if {e.name, e.group} & wanted)
