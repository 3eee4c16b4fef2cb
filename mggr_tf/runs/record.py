"""The record of a run, `run.json`, and its comparison with later data and versions."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mggr_edge.common.version import __version__
from mggr_edge.errors import RunError
from mggr_tf.config import Config
from mggr_tf.config.files import Difference, differences, in_words
from mggr_tf.data.names import (
    FIRST_IN_FOLDER,
    FIRST_IN_MEMORY,
    SYNTHETIC,
    SYNTHETIC_LICENCE,
    drawn_seed,
    present_name,
)

if TYPE_CHECKING:
    from mggr_tf.data.source import Split

SCHEMA = 1

UNKNOWN_DONORS = (
    "unknown (an earlier version of mggr-tf made the run and did not record whether it was "
    "started with --from or changed with --changed-data, nor on which data)"
)
"""The terms of a run whose record does not tell all the data that its weights come from."""


@dataclass(frozen=True)
class DataRecord:
    """What a run was trained on.

    Attributes:
        source: `synthetic`, or the absolute path of the folder.
        subjects: trained on.
        held_out: not trained on, for sheets and validation.
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
        """All subjects that the run itself was ever trained on."""
        return (*self.subjects, *self.earlier)

    @property
    def name(self) -> str:
        """`synthetic`, or the folder's name without its place on this machine."""
        return self.source if self.source == SYNTHETIC else Path(self.source).name

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
class Origin:
    """Training data that a run's weights come from, other than its present data.

    Attributes:
        run: name of the run that was trained on it: a donor, a donor's donor, or the run itself
            before its data changed.
        data: `synthetic`, or the folder's name.
        licence: of that data.
        subjects: that were trained on.
        complete: whether that run's record named all data that its own weights came from.
    """

    run: str
    data: str
    licence: str
    subjects: tuple[str, ...]
    complete: bool = True


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
        portraits: photographs of people whose gaze is known that it is trained on as well; None
            where there are none.
        stages: how far each one is.
        versions: of the packages that began it.
        git_revision: of the checkout that began it.
        vgg16: the file of the perceptual loss's weights.
        config: what `config.yaml` held when the run was made; None in runs of versions that
            did not write it down.
        changes: what its user changed of config or data while it was trained.
        origins: all other data that its weights come from: that of its donor (`--from`), of the
            donor's donors, and its own before it changed; None in runs of versions that recorded
            none.
        schema: of this record.
    """

    seed: int
    data: DataRecord
    portraits: DataRecord | None = None
    stages: dict[str, StageRecord] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    vgg16: str | None = None
    config: dict[str, Any] | None = None
    changes: tuple[str, ...] = ()
    origins: tuple[Origin, ...] | None = None
    schema: int = SCHEMA

    @property
    def datasets(self) -> tuple[DataRecord, ...]:
        """All that the run itself is trained on."""
        return (self.data,) if self.portraits is None else (self.data, self.portraits)

    @property
    def origins_known(self) -> bool:
        """Whether the record tells all data that the weights come from."""
        return self.origins is not None and all(origin.complete for origin in self.origins)

    @property
    def seen(self) -> tuple[str, ...]:
        """All subjects that the weights were ever trained on, the donors' too, each once."""
        own = (name for data in self.datasets for name in data.seen)
        others = (name for origin in self.origins or () for name in origin.subjects)
        return tuple(dict.fromkeys((*own, *others)))

    def sources(self, run: str) -> tuple[Origin, ...]:
        """All data that the weights come from: the present data first, then `origins`.

        Args:
            run: the run's name.
        """
        own = (
            Origin(run, data.name, data.licence, data.seen, complete=self.origins is not None)
            for data in self.datasets
        )
        return tuple(dict.fromkeys((*own, *(self.origins or ()))))

    @property
    def data_names(self) -> tuple[str, ...]:
        """The names of all data that the weights come from, each once."""
        return tuple(dict.fromkeys(source.data for source in self.sources("")))

    @property
    def licences(self) -> tuple[str, ...]:
        """The licences of all data that the weights come from, each once.

        Where the record does not tell all of it, `UNKNOWN_DONORS` is the last of them.
        """
        unknown = () if self.origins_known else (UNKNOWN_DONORS,)
        return tuple(dict.fromkeys((*(source.licence for source in self.sources("")), *unknown)))

    @property
    def licence(self) -> str:
        """All licences in one line; what one of them does not allow is not allowed."""
        return "; ".join(self.licences)

    def with_data(
        self, data: DataRecord, *, run: str, change: str | None, portraits: bool = False
    ) -> RunRecord:
        """The record of a run that goes on with other data, or the same by another name.

        Earlier data stays among the origins where it had other people or another licence.

        Args:
            data: what it goes on with.
            run: the run's name.
            change: what changed of it, in words; None where nothing did.
            portraits: whether `data` are its photographs.
        """
        record, before = self, self.portraits if portraits else self.data
        if before is not None and (change is not None or before.licence != data.licence):
            record = record.with_origins(
                [Origin(run, before.name, before.licence, before.subjects)]
            )
        what = "portraits" if portraits else "data"
        changes = (*record.changes, *([] if change is None else [f"{what}: {change}"]))
        if portraits:
            return replace(record, portraits=data, changes=changes)
        return replace(record, data=data, changes=changes)

    def with_origins(self, origins: Iterable[Origin]) -> RunRecord:
        """The record with more data that its weights come from."""
        before = self.origins or ()
        added = tuple(
            replace(origin, complete=origin.complete and self.origins is not None)
            for origin in origins
        )
        return replace(self, origins=tuple(dict.fromkeys((*before, *added))))


def with_present_names(record: RunRecord, *, seed: int, source: str | None = None) -> RunRecord:
    """The record with the present names of drawn people; see `mggr_tf.data.names`.

    Args:
        record: of any version.
        seed: that the run's config draws people with.
        source: where a folder of drawn eyes that the run was trained on may lie now. Of a run on
            other data it is not asked: people of that data keep their names.
    """
    data = record.data
    drawn_with: int | None = seed
    first: Literal[0, 1] = FIRST_IN_MEMORY
    if data.source != SYNTHETIC:
        drawn_with, first = drawn_seed(Path(data.source)), FIRST_IN_FOLDER
        if drawn_with is None and source is not None and data.licence == SYNTHETIC_LICENCE:
            drawn_with = drawn_seed(Path(source))
    if drawn_with is None:
        return record

    def present(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(present_name(name, seed=drawn_with, first=first) for name in names)

    earlier = data.earlier
    if record.origins is None:
        # Nobody recorded of which data they are: these people, or others with such numbers.
        earlier = tuple(dict.fromkeys((*earlier, *present(earlier))))
    named = replace(
        data, subjects=present(data.subjects), held_out=present(data.held_out), earlier=earlier
    )
    return replace(record, data=named)


_MOST_NAMED = 5
_MAY_CHANGE = ("stages.", "checkpoints.", "limits.")
"""What a run's weights, checkpoints and data do not depend on."""


def check_config(file: Path, *, made_with: Config, found: Config) -> None:
    """Refuses a config that is another than the run was made with.

    Raises:
        RunError: it is; shows every difference.
    """
    if changed := differences(made_with, found):
        raise RunError(
            f"{file} was changed since the run was made: {in_words(changed)}; put it back. A "
            "changed copy makes a new run: mggr-tf train --config COPY.yaml "
            f"--from {shlex.quote(str(file.parent))}"
        )


def asked_changes(
    run: Path, *, trained: Config, asked: Config, may_differ: bool
) -> tuple[Difference, ...]:
    """Where the config that a run is to go on with differs from its own.

    What is asked may leave to the machine (`auto`) what the run has settled.

    Args:
        run: its folder.
        trained: its config.
        asked: the other.
        may_differ: go on by it all the same, where it asks for the same networks.

    Raises:
        RunError: it differs, and may not, or not there; shows every difference.
    """
    changed = tuple(d for d in differences(trained, asked) if d.after != "auto")
    if changed and not may_differ:
        raise RunError(
            f"{run} is trained with another config: {in_words(changed)}; leave --config and "
            "--set out, say --changed-config where it is meant, or make a new run with "
            f"--from {run}"
        )
    if fixed := tuple(d for d in changed if not d.key.startswith(_MAY_CHANGE)):
        raise RunError(
            f"{run}: a run that was begun goes on with the same networks and data: "
            f"{in_words(fixed)}; make a new run with --from {run}"
        )
    return changed


def data_changes(before: DataRecord, now: DataRecord) -> str | None:
    """In words, how the data that is there differs from what a run was trained on; None: nowhere.

    Of runs that kept no fingerprint only people and numbers are compared.
    """
    if before.subjects != now.subjects or before.held_out != now.held_out:
        return f"{_people(before, now)}, {before.patches} patches before, {now.patches} now"
    if before.patches != now.patches:
        return f"of the same people {before.patches} patches before, {now.patches} now"
    if before.fingerprint is None:
        moved = before.source != now.source
        return f"{before.source} before, and nothing to know it by elsewhere" if moved else None
    if before.fingerprint != now.fingerprint:
        return f"the same number of patches ({now.patches}) with other pictures or labels"
    return None


def _people(before: DataRecord, now: DataRecord) -> str:
    were, are = ({*data.subjects, *data.held_out} for data in (before, now))
    if were == are:
        return "the same people, but others of them held out"
    changes = [("gone", sorted(were - are)), ("new", sorted(are - were))]
    return ", ".join(
        f"{len(names)} subject{'s' * (len(names) > 1)} {how} ({_named(names)})"
        for how, names in changes
        if names
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


_PACKAGES = ("tensorflow", "keras", "tensorflow-addons", "numpy")


def installed_versions() -> dict[str, str]:
    """Package -> version: this one's, Python's, and those that compute."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"mggr-tf": __version__, "python": platform.python_version(), **found}


def other_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The packages whose versions differ: `tensorflow 2.14.0 -> 2.15.1, numpy ...`; None if none.

    Of Python only the minor version counts: its patches change no number. A package that one side
    does not record is not compared.

    Example:
        >>> other_versions({"numpy": "1.24", "python": "3.11.2"}, {"numpy": "1.26"})
        'numpy 1.24 -> 1.26'
    """
    found = [
        f"{name} {before[name]} -> {now[name]}"
        for name in before
        if name in now and _counted(name, before[name]) != _counted(name, now[name])
    ]
    return ", ".join(found) or None


def _counted(name: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if name == "python" else version
