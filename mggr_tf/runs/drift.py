"""Changes of data or versions between the start of a run and its resumption."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from mggr_edge.common.version import __version__
from mggr_edge.errors import RunError
from mggr_tf.config import Config
from mggr_tf.config.files import Difference, differences, in_words
from mggr_tf.runs.record import DataRecord

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
