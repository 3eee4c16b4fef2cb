"""The data that a run goes on with: what it began with, or what its user says it may be now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mggr_edge.errors import RunError
from mggr_tf.data.source import Split
from mggr_tf.runs.drift import data_changes
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord


def note_data(
    run: RunFolder,
    found: Split,
    *,
    may_differ: bool,
    portraits: bool = False,
    say: Callable[[str], None],
) -> None:
    """Compares the data that is there with what the run began with, and writes it down.

    Args:
        run: the one that is resumed.
        found: the data, with the people aside whom the run holds out.
        may_differ: go on all the same where it differs.
        portraits: whether these are the run's photographs, which it may have begun without.
        say: called with what differs, when the run goes on.

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
        say(f"the {what.split()[0]} changed: {changes}; going on with it")
    seen = {*known.seen} - {*now.subjects}
    now = replace(now, earlier=tuple(sorted(seen)))
    if now != (run.record.portraits if portraits else run.record.data):
        run.note_data(now, change=changes, portraits=portraits)
