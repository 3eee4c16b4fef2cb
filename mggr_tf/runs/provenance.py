"""Origin of the training data of a run, and comparison of the data when a run is resumed.

A run can start from the weights of another run, which is called its donor. The weights of a run
were trained on its own data, and also on the data of its donors. The name of a synthetic person
contains a seed and a number. The number alone does not identify a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mggr_edge.errors import RunError, UsageError
from mggr_edge.models.contract import Training
from mggr_tf.config import config_to_plain
from mggr_tf.data.names import (
    FIRST_IN_MEMORY,
    SYNTHETIC,
    SYNTHETIC_LICENCE,
    drawn_person,
    present_name,
)
from mggr_tf.data.source import Split
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import UNKNOWN_DONORS, DataRecord, Origin

_MOST_NAMED = 5


def sources_of(run: RunFolder) -> tuple[Origin, ...]:
    """Return all training data of a run's weights. The current data of the run comes first.

    Then follow the data of the donors, and the data that the run used before its data changed.
    """
    return run.record.sources(run.path.resolve().name)


def training_of(run: RunFolder, *, further: Sequence[Origin] = ()) -> Training:
    """Return the training section of a contract.

    The contract is the file that describes an exported model. The section contains the data of the
    run and the data of all its donors.

    Args:
        run: trained run.
        further: additional training data that fine-tuned the weights after the run, for example by
            `export --qat`.
    """
    record = run.record
    unknown = () if record.origins_known else (UNKNOWN_DONORS,)
    licences = [*(one.licence for one in (*sources_of(run), *further)), *unknown]
    names = [*record.seen, *(name for one in further for name in one.subjects)]
    return Training(
        # Use only the names of folders, because their paths are private.
        data=", ".join(dict.fromkeys((*record.data_names, *(one.data for one in further)))),
        licence="; ".join(dict.fromkeys(licences)),
        subjects=tuple(dict.fromkeys(names)),
        stages={name: stage.done for name, stage in record.stages.items()},
        config=config_to_plain(run.config),
    )


def subjects_of_contract(training: Training) -> tuple[str, ...]:
    """Return the training subjects of an exported model, with the current names of people.

    Earlier versions used the number of a synthetic person as its name. For such a name, the
    function takes the seed from the config.
    """
    seed = _synthetic_seed(training.config)
    if training.data != SYNTHETIC or seed is None:
        return training.subjects
    return tuple(present_name(name, seed=seed, first=FIRST_IN_MEMORY) for name in training.subjects)


def trained_on(runs: Mapping[str, RunFolder]) -> dict[str, tuple[str, ...]]:
    """Return the training subjects of several runs and of their donors (source runs in messages).

    Args:
        runs: runs. The keys are titles for messages, for example "the run" or "the judge".

    Returns:
        Training subjects. The keys are titles of runs and of donors.
    """
    found: dict[str, tuple[str, ...]] = {}
    for title, run in runs.items():
        found[title] = tuple(name for data in run.record.datasets for name in data.seen)
        for origin in run.record.origins or ():
            donor = f"{title}'s source run {origin.run} on {origin.data}"
            found[donor] = (*found.get(donor, ()), *origin.subjects)
    return found


def refuse_unknown_seeds(
    names: Iterable[str], licence: str, runs: Mapping[str, RunFolder], *, source: str
) -> None:
    """Check that synthetic test subjects can be compared with the training subjects.

    In packed data of earlier versions, and in runs whose folder of synthetic eyes is missing, the
    names of synthetic people lack the seed. A name without a seed does not identify a person.

    Args:
        names: subjects to evaluate.
        licence: licence of the data of these subjects.
        runs: runs. The keys are titles for messages, as in `trained_on`.
        source: data of the subjects, for the message.

    Raises:
        UsageError: only the test subjects or only the training subjects have names without a seed.
    """
    drawn = [drawn_person(name) is not None for name in names if licence == SYNTHETIC_LICENCE]
    if not drawn:
        return
    for title, run in runs.items():
        for origin in sources_of(run):
            if origin.licence != SYNTHETIC_LICENCE:
                continue
            known = [drawn_person(name) is not None for name in origin.subjects]
            if known and all(drawn) != all(known):
                without = source if not all(drawn) else f"{title} ({run.path}, {origin.data})"
                raise UsageError(
                    f"{without}: the names of synthetic people contain no seed, so training people "
                    f"of {title} cannot be excluded; render new people with `mggr-tf data synth` "
                    "(and `data pack`), with a seed that was not used in training",
                    code="synthetic-seed-unknown",
                    trained=title,
                    data=source,
                    without=without,
                )


def warn_of_unknown_donors(runs: Mapping[str, RunFolder], notify: Callable[[str], None]) -> None:
    """Write a warning for each run whose record does not contain all of its training data."""
    for title, run in runs.items():
        if not run.record.origins_known:
            notify(
                f"warning: {title} ({run.path}) was created by an earlier version, which did not "
                "record all training data; the evaluated people may be in the training data"
            )


def some_names(names: Iterable[str]) -> str:
    """Return a text with the first names in sorted order, and the number of the remaining names."""
    ordered = sorted(names)
    more = len(ordered) - _MOST_NAMED
    return ", ".join(ordered[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _synthetic_seed(config: Mapping[str, Any]) -> int | None:
    synthetic = config.get("synthetic")
    seed = synthetic.get("seed") if isinstance(synthetic, Mapping) else None
    return seed if isinstance(seed, int) else None


def note_data(
    run: RunFolder,
    found: Split,
    *,
    may_differ: bool,
    portraits: bool = False,
    notify: Callable[[str], None],
) -> None:
    """Compare the current data with the data in a run's record, and update the record.

    Args:
        run: run to resume.
        found: current data, split into training subjects and held-out subjects.
        may_differ: whether the run may continue if the data has changed.
        portraits: whether `found` contains photographs. A run without photographs can continue with
            photographs.
        notify: callback. If the data has changed and the run continues, it is called with a
            description of the change.

    Raises:
        RunError: the data has changed, and `may_differ` is False. In this case, the record is
            unchanged.
    """
    now, what = DataRecord.of(found), "portraits" if portraits else "data"
    known = run.record.portraits if portraits else run.record.data
    if known is None:
        run.note_data(now, portraits=True)
        return
    if known.fingerprint in found.train.former_fingerprints():
        known = replace(known, fingerprint=now.fingerprint)
    changes = data_changes(known, now)
    if changes is not None:
        if not may_differ:
            raise RunError(
                f"{run.path}: the {what} changed since the training started: {changes}; restore "
                "the earlier files, add --changed-data to continue with the changed files, or "
                f"create a new run with --from {run.path}",
                code=f"{what}-changed",
                path=run.path,
                changes=changes,
            )
        notify(f"the {what} changed: {changes}; the training continues with the changed {what}")
    seen = {*known.seen} - {*now.subjects}
    now = replace(now, earlier=tuple(sorted(seen)))
    if now != (run.record.portraits if portraits else run.record.data):
        run.note_data(now, change=changes, portraits=portraits)


def data_changes(before: DataRecord, now: DataRecord) -> str | None:
    """Return a description of the changes between two records of data. `None` without a change.

    If the earlier record has no fingerprint, the function compares only the subjects, the number of
    patches, and the path of the data.
    """
    if before.subjects != now.subjects or before.held_out != now.held_out:
        return f"{_people(before, now)}, {before.patches} patches before, {now.patches} now"
    if before.patches != now.patches:
        return f"the same people, but {before.patches} patches before, {now.patches} now"
    if before.fingerprint is None:
        moved = before.source != now.source
        return f"{before.source} before, with no fingerprint to compare" if moved else None
    if before.fingerprint != now.fingerprint:
        return f"the same number of patches ({now.patches}), but other pictures or labels"
    return None


def _people(before: DataRecord, now: DataRecord) -> str:
    were, are = ({*data.subjects, *data.held_out} for data in (before, now))
    if were == are:
        return "the same people, but with other held-out subjects"
    changes = [("removed", were - are), ("new", are - were)]
    return ", ".join(
        f"{len(names)} subject{'s' * (len(names) > 1)} {how} ({some_names(names)})"
        for how, names in changes
        if names
    )
