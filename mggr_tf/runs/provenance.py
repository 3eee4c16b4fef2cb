"""Where the data of a run came from, and whether a resumed run has the same."""

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
from mggr_tf.runs.record import UNKNOWN_DONORS, DataRecord, Origin, data_changes

_MOST_NAMED = 5


def sources_of(run: RunFolder) -> tuple[Origin, ...]:
    """All data that a run's weights come from: its own first, then that of its donors."""
    return run.record.sources(run.path.resolve().name)


def training_of(run: RunFolder, *, further: Sequence[Origin] = ()) -> Training:
    """What a contract states of a run's training: unions over the run and all its donors.

    Args:
        run: the run.
        further: data that the weights were changed on after the run, as by `export --qat`.
    """
    record = run.record
    unknown = () if record.origins_known else (UNKNOWN_DONORS,)
    licences = [*(one.licence for one in (*sources_of(run), *further)), *unknown]
    names = [*record.seen, *(name for one in further for name in one.subjects)]
    return Training(
        # Folders' names, not where they lie: that is nobody else's business.
        data=", ".join(dict.fromkeys((*record.data_names, *(one.data for one in further)))),
        licence="; ".join(dict.fromkeys(licences)),
        subjects=tuple(dict.fromkeys(names)),
        stages={name: stage.done for name, stage in record.stages.items()},
        config=config_to_plain(run.config),
    )


def subjects_of_contract(training: Training) -> tuple[str, ...]:
    """The subjects that a bundle was trained on, drawn people by their present names.

    Contracts of earlier versions number drawn people, and hold the seed in their config.
    """
    seed = _synthetic_seed(training.config)
    if training.data != SYNTHETIC or seed is None:
        return training.subjects
    return tuple(present_name(name, seed=seed, first=FIRST_IN_MEMORY) for name in training.subjects)


def trained_on(runs: Mapping[str, RunFolder]) -> dict[str, tuple[str, ...]]:
    """Who was trained on whom: the runs themselves, and each of their donors by its name.

    Args:
        runs: how a message names a run ("the run", "the judge") -> the run.
    """
    found: dict[str, tuple[str, ...]] = {}
    for title, run in runs.items():
        found[title] = tuple(name for data in run.record.datasets for name in data.seen)
        for origin in run.record.origins or ():
            donor = f"{title}'s donor {origin.run} on {origin.data}"
            found[donor] = (*found.get(donor, ()), *origin.subjects)
    return found


def refuse_unknown_seeds(
    names: Iterable[str], licence: str, runs: Mapping[str, RunFolder], *, source: str
) -> None:
    """Refuses to score drawn people who cannot be compared with those of the training.

    Packs of earlier versions number drawn people without their seed, and so do runs whose folder
    of drawn eyes is gone. A number can be anybody of any seed.

    Args:
        names: to be scored.
        licence: of their data.
        runs: as for `trained_on`.
        source: the data, for the message.

    Raises:
        UsageError: drawn people of known and of unknown seeds meet.
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
                    f"{without} numbers drawn people without their seed, so whether {title} was "
                    f"trained on the people of {source} cannot be known; draw them again with "
                    "`mggr-tf data synth` (and `data pack`), with a seed that was not trained on"
                )


def warn_of_unknown_donors(runs: Mapping[str, RunFolder], notify: Callable[[str], None]) -> None:
    """Prints one line for each run whose record does not tell all of its training data."""
    for title, run in runs.items():
        if not run.record.origins_known:
            notify(
                f"warning: {title} ({run.path}) was made by a version that did not record donors "
                "(--from): whether their training people are among those scored is unknown"
            )


def some_names(names: Iterable[str]) -> str:
    """The first names of a list, and how many more there are."""
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
    """Compares the data that is there with what the run began with, and writes it down.

    Args:
        run: the one that is resumed.
        found: the data, with the people aside whom the run holds out.
        may_differ: go on all the same where it differs.
        portraits: whether these are the run's photographs, which it may have begun without.
        notify: called with what differs, when the run goes on.

    Raises:
        RunError: the data differs; nothing of the run was touched.
    """
    now, what = DataRecord.of(found), "portraits are" if portraits else "data is"
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
                f"{run.path}: its {what} not what it began with: {changes}; put it back, go "
                f"on all the same with --changed-data, or make a new run with --from {run.path}"
            )
        notify(f"the {what.split()[0]} changed: {changes}; going on with it")
    seen = {*known.seen} - {*now.subjects}
    now = replace(now, earlier=tuple(sorted(seen)))
    if now != (run.record.portraits if portraits else run.record.data):
        run.note_data(now, change=changes, portraits=portraits)
