"""A run that `mggr-tf train --resume` goes on with: the same config, the same data."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mggr_edge.errors import DataError, RunError, UsageError
from mggr_tf.cli.kept_budget import check_config_steps
from mggr_tf.cli.opened_data import opened_data
from mggr_tf.cli.options import say

if TYPE_CHECKING:
    from mggr_tf.config.stages import Stage
    from mggr_tf.data.source import Split
    from mggr_tf.runs.folder import RunFolder


def reopened(
    out: Path | None,
    config_name: str | None,
    changes: tuple[str, ...],
    *,
    may_differ: bool,
    held: ExitStack,
) -> tuple[RunFolder, str]:
    """Opens the run to go on with.

    Args:
        out: its folder.
        config_name: of a config that is asked for, which must be the run's own.
        changes: to that config, or to the run's.
        may_differ: go on by the config that is asked for, where it differs.
        held: takes the run's lock.

    Returns:
        The run with the config that it goes on by, which is not written down yet; and what
        changed of it, in words.

    Raises:
        UsageError: no run is named, or a stage in progress was begun with other steps.
        RunError: it is no run, its config was changed or another one is asked for, or another
            training is running in it.
        DiskError: it cannot be written to.
    """
    from mggr_tf.config.difference import in_words
    from mggr_tf.config.files import changed_config, load_config
    from mggr_tf.runs.drift import asked_changes
    from mggr_tf.runs.folder import RunFolder, run_file
    from mggr_tf.runs.lock import only_training
    from mggr_tf.runs.versions import installed_versions, other_versions

    if out is None:
        raise UsageError("--resume needs --out RUN, the run to go on with")
    run_file(out)  # in what is no run, no lock is made
    held.enter_context(only_training(out))
    run = RunFolder.open(out)
    if versions := other_versions(run.record.versions, installed_versions()):
        say(
            f"warning: {out} was begun with other versions ({versions}); its next steps may not "
            "be those that it would have made with them"
        )
    asked = changed_config(run.config, changes)
    if config_name is not None:
        asked = load_config(config_name, changes=changes)
    found = asked_changes(out, trained=run.config, asked=asked, may_differ=may_differ)
    if found:
        # Of the rest, what the run has settled holds.
        run.config = replace(
            run.config, stages=asked.stages, checkpoints=asked.checkpoints, limits=asked.limits
        )
        check_config_steps(run, {one.key for one in found})
        say(f"the config changed: {in_words(found)}; going on by it")
    return run, in_words(found)


def resumed_data(
    run: RunFolder,
    stage: Stage,
    data: str | None,
    *,
    subjects: tuple[str, ...] | None,
    may_differ: bool,
) -> Split:
    """Opens what the run began with, wherever it lies now.

    Args:
        run: the one to go on with.
        stage: the last one to train.
        data: where it lies; None is where it lay.
        subjects: whom to train on, where they are named; they must be the run's own.
        may_differ: go on with other data all the same.

    Raises:
        UsageError: other subjects are named.
        RunError: the data is another.
    """
    from mggr_tf.data.drawn_people import present_names
    from mggr_tf.runs.provenance import some_names
    from mggr_tf.runs.record import with_present_names
    from mggr_tf.runs.resumed_data import note_data

    source = run.record.data.source if data is None else data
    seed = run.config.synthetic.seed
    run.record = with_present_names(run.record, seed=seed, source=source)
    known = run.record.data
    subjects = None if subjects is None else present_names(subjects, source, seed=seed)
    # Without held-out people they were named on the command line.
    named = None if known.held_out else subjects or known.subjects
    held_out = known.held_out
    if present_names(held_out, source, seed=seed) != held_out:
        held_out = ()  # numbers of other data, which would select drawn people of this folder
    if subjects is not None and {*subjects} != {*known.subjects} and not (named and may_differ):
        raise UsageError(f"{run.path} was trained on other subjects; make a new run")
    if subjects is None and named and present_names(named, source, seed=seed) != named:
        raise RunError(
            f"{run.path} was trained on {some_names(named)} of {known.source}, and {source} has "
            "drawn people; put the data back, or go on with them with --changed-data and --subjects"
        )
    try:
        found = opened_data(
            source,
            run.path,
            config=run.config,
            stage=stage,
            subjects=named,
            held_out=held_out,
        )
    except DataError as error:
        advice = "; name people of this data with --subjects" if may_differ and named else ""
        raise RunError(
            f"{run.path}: its data is not what it began with: {error}{advice}"
        ) from error
    note_data(run, found, may_differ=may_differ, say=say)
    return found
