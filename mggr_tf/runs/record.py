"""Record of a run (`run.json`), and its comparison with later configs, data and versions."""

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
"""Licence entry of a run whose record does not contain all training data of its weights."""


@dataclass(frozen=True)
class DataRecord:
    """Training data of a run.

    Attributes:
        source: `synthetic`, or the absolute path of the data folder.
        subjects: training subjects.
        held_out: held-out subjects, for sheets and validation.
        patches: number of patches of `subjects`.
        licence: licence of the data.
        fingerprint: fingerprint of the images and labels of `subjects`; None in runs of versions
            without fingerprints.
        earlier: further training subjects, from before the data of the run changed.
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
        """All subjects that the run itself has been trained on, including earlier ones."""
        return (*self.subjects, *self.earlier)

    @property
    def name(self) -> str:
        """`synthetic`, or the name of the data folder without its path."""
        return self.source if self.source == SYNTHETIC else Path(self.source).name

    @classmethod
    def of(cls, split: Split) -> DataRecord:
        """Return the record of opened training data."""
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
    """Training data of a run's weights, other than the present data of the run.

    Attributes:
        run: name of the run that was trained on this data: a donor, a donor's donor, or the run
            itself before its data changed.
        data: `synthetic`, or the name of the data folder.
        licence: licence of the data.
        subjects: training subjects.
        complete: whether the record of that run contained all training data of its own weights.
    """

    run: str
    data: str
    licence: str
    subjects: tuple[str, ...]
    complete: bool = True


@dataclass(frozen=True)
class StageRecord:
    """Progress of a stage.

    Attributes:
        steps: budget in steps; a budget in minutes is converted to steps.
        done: number of steps in the newest checkpoint.
        complete: whether the weights of the stage are in `weights/`.
        minutes: budget in minutes; None for a budget in steps.
        seconds: training time so far.
    """

    steps: int
    done: int = 0
    complete: bool = False
    minutes: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class RunRecord:
    """Content of `run.json`.

    Attributes:
        seed: seed in the config.
        data: training data.
        portraits: additional training photographs with known gaze; None if there are none.
        stages: progress of each stage.
        versions: versions of the packages when the run was created.
        git_revision: revision of the checkout when the run was created.
        vgg16: weights file of the network for the perceptual loss.
        config: content of `config.yaml` when the run was created or its config last changed; None
            in runs of versions that did not record it.
        changes: descriptions of the user's changes to config or data during the training.
        origins: all other training data of the weights: data of the donor (`--from`), of the
            donor's donors, and the run's own data before it changed. None in runs of versions
            that did not record it.
        schema: version of the format.
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
        """All data that the run itself is trained on."""
        return (self.data,) if self.portraits is None else (self.data, self.portraits)

    @property
    def origins_known(self) -> bool:
        """Whether the record contains all training data of the weights."""
        return self.origins is not None and all(origin.complete for origin in self.origins)

    @property
    def seen(self) -> tuple[str, ...]:
        """All subjects that the weights were trained on, including donors', without duplicates."""
        own = (name for data in self.datasets for name in data.seen)
        others = (name for origin in self.origins or () for name in origin.subjects)
        return tuple(dict.fromkeys((*own, *others)))

    def sources(self, run: str) -> tuple[Origin, ...]:
        """Return all training data of the weights: the present data first, then `origins`.

        Args:
            run: name of the run.
        """
        own = (
            Origin(run, data.name, data.licence, data.seen, complete=self.origins is not None)
            for data in self.datasets
        )
        return tuple(dict.fromkeys((*own, *(self.origins or ()))))

    @property
    def data_names(self) -> tuple[str, ...]:
        """Names of all training data of the weights, without duplicates."""
        return tuple(dict.fromkeys(source.data for source in self.sources("")))

    @property
    def licences(self) -> tuple[str, ...]:
        """Licences of all training data of the weights, without duplicates.

        If the record does not contain all training data, the last entry is `UNKNOWN_DONORS`.
        """
        unknown = () if self.origins_known else (UNKNOWN_DONORS,)
        return tuple(dict.fromkeys((*(source.licence for source in self.sources("")), *unknown)))

    @property
    def licence(self) -> str:
        """All licences in one line. All of them apply: a use must be permitted by each licence."""
        return "; ".join(self.licences)

    def with_data(
        self, data: DataRecord, *, run: str, change: str | None, portraits: bool = False
    ) -> RunRecord:
        """Return the record of a run that continues with other data, or with renamed data.

        If the content or the licence has changed, the earlier data is added to the origins.

        Args:
            data: data to continue with.
            run: name of the run.
            change: description of the change; None if the content is the same.
            portraits: whether `data` is the record of the photographs.
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
        """Return the record with additional training data of its weights."""
        before = self.origins or ()
        added = tuple(
            replace(origin, complete=origin.complete and self.origins is not None)
            for origin in origins
        )
        return replace(self, origins=tuple(dict.fromkeys((*before, *added))))


def with_present_names(record: RunRecord, *, seed: int, source: str | None = None) -> RunRecord:
    """Return the record with the current names of synthetic people; see `mggr_tf.data.names`.

    Args:
        record: record of any version.
        seed: seed of the synthetic people in the run's config.
        source: possible new path of the folder of synthetic eyes that the run was trained on. It
            is ignored for runs on other data, whose subjects keep their names.
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
        # The record does not contain the data of the earlier subjects: they may be these people, or
        # other people with the same numbers. So include both names.
        earlier = tuple(dict.fromkeys((*earlier, *present(earlier))))
    named = replace(
        data, subjects=present(data.subjects), held_out=present(data.held_out), earlier=earlier
    )
    return replace(record, data=named)


_MOST_NAMED = 5
_MAY_CHANGE = ("stages.", "checkpoints.", "limits.")
"""Prefixes of the config keys that may change in a run, because its networks, checkpoints and data
do not depend on them."""


def check_config(file: Path, *, made_with: Config, found: Config) -> None:
    """Check that a config equals the config that the run was created with.

    Args:
        file: config file of the run, for the message.
        made_with: config that the run was created with.
        found: config in the file.

    Raises:
        RunError: the configs differ; the message lists all differences.
    """
    if changed := differences(made_with, found):
        raise RunError(
            f"{file} has changed since the run was created: {in_words(changed)}; restore it. To "
            "create a new run from a changed copy: mggr-tf train --config COPY.yaml "
            f"--from {shlex.quote(str(file.parent))}",
            code="config-file-changed",
            path=file,
            changes=in_words(changed),
        )


def asked_changes(
    run: Path, *, trained: Config, asked: Config, may_differ: bool
) -> tuple[Difference, ...]:
    """Return the differences between the config of a run and the config requested for resuming it.

    A requested value of `auto` is not a difference, because the run has already resolved it.

    Args:
        run: folder of the run.
        trained: config of the run.
        asked: requested config.
        may_differ: permit differences that keep the networks and the data of the run.

    Raises:
        RunError: there are differences that are not permitted; the message lists them.
    """
    changed = tuple(d for d in differences(trained, asked) if d.after != "auto")
    if changed and not may_differ:
        raise RunError(
            f"{run} was started with another config: {in_words(changed)}; omit --config and "
            "--set, pass --changed-config to continue with the changed config, or create a new "
            f"run with --from {run}",
            code="config-differs",
            path=run,
            changes=in_words(changed),
        )
    if fixed := tuple(d for d in changed if not d.key.startswith(_MAY_CHANGE)):
        raise RunError(
            f"{run}: the networks and data of a started run cannot be changed: "
            f"{in_words(fixed)}; create a new run with --from {run}",
            code="config-change-not-possible",
            path=run,
            changes=in_words(fixed),
        )
    return changed


def data_changes(before: DataRecord, now: DataRecord) -> str | None:
    """Describe how data differs from the data that a run was trained on; None if it is the same.

    For runs without a fingerprint, only subjects, numbers of patches and paths are compared.
    """
    if before.subjects != now.subjects or before.held_out != now.held_out:
        return f"{_people(before, now)}, {before.patches} patches before, {now.patches} now"
    if before.patches != now.patches:
        return f"{before.patches} patches before, {now.patches} now, of the same people"
    if before.fingerprint is None:
        moved = before.source != now.source
        return f"{before.source} before, with no fingerprint to compare" if moved else None
    if before.fingerprint != now.fingerprint:
        return f"the same number of patches ({now.patches}) with other pictures or labels"
    return None


def _people(before: DataRecord, now: DataRecord) -> str:
    were, are = ({*data.subjects, *data.held_out} for data in (before, now))
    if were == are:
        return "the same people, but with other held-out subjects"
    changes = [("removed", sorted(were - are)), ("new", sorted(are - were))]
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
    """Return the versions of this package, of Python and of the numeric packages, by name."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"mggr-tf": __version__, "python": platform.python_version(), **found}


def other_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """List packages whose versions differ: `tensorflow 2.14.0 -> 2.15.1, numpy ...`; None if none.

    For Python only the major and minor version are compared, because patch releases do not change
    numeric results. A package that is missing on one side is not compared.

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
