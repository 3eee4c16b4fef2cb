"""What a benchmark trains and scores: fixed when it starts, kept beside its results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError, UsageError
from mggr_tf.benchmark.entrants import ABLATIONS, EQUAL_STEPS, METHODS, PUBLISHED_SIZE, Entrant
from mggr_tf.data.drawn_people import present_names

ENTRANTS = (*METHODS, *EQUAL_STEPS, *PUBLISHED_SIZE, *ABLATIONS)
_FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """A benchmark's fixed part.

    Attributes:
        data: absolute path of the data set, or `synthetic`.
        train: subjects that everything is trained on.
        report: subjects that everything is scored on.
        minutes: for each method, all its stages together.
        ablation_minutes: for the control of MGGR's ablations, whose steps they all
            make, and for each rival at its published size, which no such budget trains
            to its end.
        judge_steps: for each judge.
        folds: into how many parts the reported subjects are cut. With one, a single
            judge is trained on `train`; with more, each part has a judge that was
            trained on `train` and the other parts.
        pairs: at most so many are scored.
        seed: of the methods; judges and pairs are the same for every seed.
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
            raise ValueError(f"subjects both trained on and reported: {', '.join(both)}")
        if not 1 <= self.folds <= len(self.report):
            raise ValueError(
                f"folds must lie between 1 and the number of reported subjects, "
                f"{len(self.report)}, got {self.folds}"
            )

    def with_present_names(self, *, seed: int) -> Plan:
        """The plan with the present names of drawn people, whom earlier versions numbered.

        Args:
            seed: of the people that `synthetic` stands for.
        """
        return replace(
            self,
            train=present_names(self.train, self.data, seed=seed),
            report=present_names(self.report, self.data, seed=seed),
        )

    def minutes_of(self, entrant: Entrant) -> float:
        """An entrant's budget."""
        return self.minutes if entrant.group == "method" else self.ablation_minutes

    def report_folds(self) -> tuple[tuple[str, ...], ...]:
        """The reported subjects, each in one fold."""
        return tuple(tuple(sorted(self.report)[i :: self.folds]) for i in range(self.folds))

    def judge_subjects(self, fold: int) -> tuple[str, ...]:
        """Whom the judge of a fold is trained on: nobody of the fold."""
        if self.folds == 1:
            return self.train
        scored = set(self.report_folds()[fold])
        return (*self.train, *(name for name in sorted(self.report) if name not in scored))


def open_plan(folder: Path, wanted: Plan, *, seed: int = 1) -> Plan:
    """Writes the plan into a new benchmark's folder, or finds the same one there.

    Args:
        folder: the benchmark's.
        wanted: the plan, with the present names of drawn people.
        seed: of the people that `synthetic` stands for.

    Raises:
        UsageError: the folder holds a benchmark with another plan; the message
            says what differs.
        ConfigError: its plan is damaged.
    """
    file = folder / _FILE
    if not file.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no benchmark; name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(file, force=True) as temporary:
            temporary.write_text(json.dumps(plain(wanted), indent=2) + "\n", encoding="utf-8")
        return wanted
    try:
        there = read(Plan, json.loads(file.read_text(encoding="utf-8")))
        there = there.with_present_names(seed=seed)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{file}: the benchmark's plan is damaged: {error}") from error
    if there != wanted:
        differing = [
            f"{f.name} is {getattr(there, f.name)}, not {getattr(wanted, f.name)}"
            for f in fields(Plan)
            if getattr(there, f.name) != getattr(wanted, f.name)
        ]
        raise UsageError(f"{folder} holds another benchmark: {'; '.join(differing)}")
    return there


def chosen(names: Iterable[str] | None) -> tuple[Entrant, ...]:
    """Entrants by name or group, in the order in which they are trained.

    Raises:
        UsageError: an unknown name.
    """
    if names is None:
        return ENTRANTS
    wanted = set(names)
    known = {e.name for e in ENTRANTS} | {e.group for e in ENTRANTS}
    if unknown := sorted(wanted - known):
        raise UsageError(
            f"no entrant or group {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
        )
    return tuple(e for e in ENTRANTS if {e.name, e.group} & wanted)
