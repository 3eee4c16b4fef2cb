"""Record of a run (`run.json`), and comparison of the record with current settings and data.

A run can start from the weights of another run, which is called its donor. A patch is a small image
of one eye.
"""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mggr_edge.common import __version__
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
    "unknown (an earlier version of mggr-tf created the run and did not record the data of --from "
    "and --changed-data)"
)
"""Text instead of a licence, if a record does not contain all training data of the weights."""


@dataclass(frozen=True)
class DataRecord:
    """Training data of a run.

    Attributes:
        source: `synthetic`, or the absolute path of the data folder.
        subjects: training subjects.
        held_out: held-out subjects, for sample sheets and validation.
        patches: number of patches of the training subjects.
        licence: licence of the data.
        fingerprint: hash of the images and labels of the training subjects. `None` if an earlier
            version of the program created the run.
        earlier: former training subjects: the subjects before the data of the run was changed.
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
        """All subjects that the run was trained on, including subjects before a change of data."""
        return (*self.subjects, *self.earlier)

    @property
    def name(self) -> str:
        """`synthetic`, or the name of the data folder without its path."""
        return self.source if self.source == SYNTHETIC else Path(self.source).name

    @classmethod
    def of(cls, split: Split) -> DataRecord:
        """Return the record of training data."""
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
    """Training data of a run's weights that is not the current data of the run.

    Attributes:
        run: name of the run that was trained on this data. This can be a donor, a donor of a donor,
            or the run itself before its data changed.
        data: `synthetic`, or the name of the data folder.
        licence: licence of the data.
        subjects: training subjects.
        complete: whether the record of that run contained all training data of its weights.
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
        steps: number of steps to train. A budget in minutes is converted to steps.
        done: number of completed steps in the newest checkpoint.
        complete: whether the weights of the stage are in `weights/`.
        minutes: budget in minutes. `None` for a budget in steps.
        seconds: training time until now, seconds.
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
        portraits: additional training photographs with known gaze. `None` if there are none.
        stages: progress of each stage.
        versions: versions of the packages when the run was created.
        git_revision: git revision of the code when the run was created.
        vgg16: file with the weights of VGG-16, for the perceptual loss.
        config: content of `config.yaml` when the run was created, or after the last change of the
            config. `None` if an earlier version of the program created the run.
        changes: descriptions of the changes of config and data after the start of the training.
        origins: all other training data of the weights. This is data of the donor (`--from`), data
            of the donor's donors, and data of this run before a change. `None` if an earlier
            version of the program created the run.
        schema: version of the format of `run.json`.
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
        """Current training data of the run, including photographs."""
        return (self.data,) if self.portraits is None else (self.data, self.portraits)

    @property
    def origins_known(self) -> bool:
        """Whether the record contains all training data of the weights."""
        return self.origins is not None and all(origin.complete for origin in self.origins)

    @property
    def seen(self) -> tuple[str, ...]:
        """All subjects that the weights were trained on, including subjects of donors.

        Each subject occurs only once.
        """
        own = (name for data in self.datasets for name in data.seen)
        others = (name for origin in self.origins or () for name in origin.subjects)
        return tuple(dict.fromkeys((*own, *others)))

    def sources(self, run: str) -> tuple[Origin, ...]:
        """Return all training data of the weights: first the current data, then `origins`.

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
        """All licences in one line. A use is permitted only if all of these licences permit it."""
        return "; ".join(self.licences)

    def with_data(
        self, data: DataRecord, *, run: str, change: str | None, portraits: bool = False
    ) -> RunRecord:
        """Return the record of a run that continues with other data, or with renamed data.

        If the content or the licence of the data has changed, the earlier data is added to
        `origins`.

        Args:
            data: data with which the run continues.
            run: name of the run.
            change: description of the change. `None` if the content is the same.
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
        """Return the record with additional training data in `origins`."""
        before = self.origins or ()
        added = tuple(
            replace(origin, complete=origin.complete and self.origins is not None)
            for origin in origins
        )
        return replace(self, origins=tuple(dict.fromkeys((*before, *added))))


def with_present_names(record: RunRecord, *, seed: int, source: str | None = None) -> RunRecord:
    """Return the record with the current names of synthetic people; see `mggr_tf.data.names`.

    Earlier versions used other names for synthetic people. Other subjects keep their names.

    Args:
        record: record of any version.
        seed: seed of the synthetic people in the run's config.
        source: path of a folder with synthetic eyes, in case the folder in the record was moved. It
            is ignored for runs that were trained on other data.
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
        # The record does not contain the data of the earlier subjects. They may be synthetic people
        # of this data, or other subjects with the same numbers. Therefore include both names.
        earlier = tuple(dict.fromkeys((*earlier, *present(earlier))))
    named = replace(
        data, subjects=present(data.subjects), held_out=present(data.held_out), earlier=earlier
    )
    return replace(record, data=named)


_MAY_CHANGE = ("stages.", "checkpoints.", "limits.")
"""Prefixes of the config keys that may change during the training of a run.

The networks, the checkpoints and the data of a run do not depend on these keys.
"""


def check_config(file: Path, *, made_with: Config, found: Config) -> None:
    """Check that a config is the same as the config with which the run was created.

    Args:
        file: config file of the run, for the message.
        made_with: config with which the run was created.
        found: config in the file.

    Raises:
        RunError: the configs are different. The message lists all differences.
    """
    if changed := differences(made_with, found):
        raise RunError(
            f"{file} has changed since the run was created: {in_words(changed)}; restore the file. "
            "To create a new run with a changed copy: mggr-tf train --config COPY.yaml "
            f"--from {shlex.quote(str(file.parent))}",
            code="config-file-changed",
            path=file,
            changes=in_words(changed),
        )


def asked_changes(
    run: Path, *, trained: Config, asked: Config, may_differ: bool
) -> tuple[Difference, ...]:
    """Return the differences between the config of a run and the config for resuming this run.

    The value `auto` in the new config is not a difference. The run already contains the value that
    was chosen instead of `auto`.

    Args:
        run: folder of the run.
        trained: config of the run.
        asked: config for resuming the run.
        may_differ: whether differences are permitted. Differences in the networks and in the data
            are never permitted.

    Raises:
        RunError: there are differences that are not permitted. The message lists these differences.
    """
    changed = tuple(d for d in differences(trained, asked) if d.after != "auto")
    if changed and not may_differ:
        raise RunError(
            f"{run} was started with another config: {in_words(changed)}; omit --config and "
            "--set, add --changed-config to continue with the changed config, or create a new "
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


_PACKAGES = ("tensorflow", "keras", "tf-keras", "tensorflow-addons", "numpy")


def installed_versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of the packages for computations."""
    found = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    if "tf-keras" in found:  # It is Keras 2, and `keras` is then Keras 3, which is not used.
        found.pop("keras", None)
    return {"mggr-tf": __version__, "python": platform.python_version(), **found}


def other_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return a text with the packages whose versions are different. `None` if there are none.

    For Python, only the major and the minor version are compared, because patch releases do not
    change numeric results. If a package is missing in one of the arguments, it is not compared.

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


def git_revision() -> str | None:
    """Return the git revision of this code. `None` without git or outside a git checkout."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
