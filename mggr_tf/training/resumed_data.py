"""The data that a run goes on with: what it began with, or what its user says it may be now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mggr_edge.errors import RunError
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.source import Samples, Split
from mggr_tf.training.drift import data_changes
from mggr_tf.training.run_folder import RunFolder
from mggr_tf.training.run_record import DataRecord

_HELD_OUT = 4096
"""Patches of held-out people that are kept in memory, where a pack has very many."""


def resumed_split(
    run: RunFolder,
    found: Split,
    *,
    may_differ: bool,
    reopen: Callable[[tuple[str, ...]], Samples],
    say: Callable[[str], None],
) -> Split:
    """Compares the data that is there with what the run began with.

    Where it may differ, people who were held out stay held out, everybody else is trained on,
    and the run writes down what it goes on with.

    Args:
        run: the one that is resumed.
        found: the data, as a new run would split it.
        may_differ: go on all the same.
        reopen: gives the samples of some subjects.
        say: told what differs, when the run goes on.

    Raises:
        RunError: the data differs; nothing of the run was touched.
    """
    known, now = run.record.data, DataRecord.of(found)
    changes = data_changes(known, now)
    if changes is not None:
        if not may_differ:
            raise RunError(
                f"{run.path}: its data is not what it began with: {changes}; put it back, go on "
                f"all the same with --changed-data, or make a new run with --from {run.path}"
            )
        say(f"the data changed: {changes}; going on with it")
        found = _with_the_same_held_out(known, found, reopen)
    seen = {*known.seen} - {*found.train.subjects}
    now = replace(DataRecord.of(found), earlier=tuple(sorted(seen)))
    if now != known:
        run.note_data(now, change=changes)
    return found


def _with_the_same_held_out(
    known: DataRecord, found: Split, reopen: Callable[[tuple[str, ...]], Samples]
) -> Split:
    aside = found.held_out.subjects if found.held_out is not None else ()
    people = {*found.train.subjects, *aside}
    held_out = tuple(sorted(people & {*known.held_out}))
    others = tuple(sorted(people - {*known.held_out}))
    if not others:
        raise RunError(f"{found.source} holds nobody but {', '.join(held_out)}, who are held out")
    if others == found.train.subjects:
        return found
    shown = reopen(held_out) if held_out else None
    if isinstance(shown, PackedSamples):
        shown = shown.preview(_HELD_OUT)
    return Split(found.source, reopen(others), shown)
