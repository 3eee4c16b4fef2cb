"""Open the photographs of `mggr-tf train --portraits`.

The photographs show people whose gaze is known. Training uses the photographs in addition to the
other training data. Messages call these photographs portraits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mggr_edge.errors import DataError, RunError, UsageError
from mggr_tf.cli.options import notify

if TYPE_CHECKING:
    from mggr_tf.config import Config
    from mggr_tf.config.stages import Stage
    from mggr_tf.data.source import Split
    from mggr_tf.data.subject_split import SubjectSplit
    from mggr_tf.runs.folder import RunFolder


def portraits_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--portraits` and `--portraits-split` to a command."""
    for option in (
        click.option(
            "--portraits-split",
            metavar="FILE",
            help="Split file for the people in --portraits. Train on its part `train`, hold out "
            "its part `select`, and omit its part `report`. Default: hold out the share "
            "`held_out` of the config.",
        ),
        click.option(
            "--portraits",
            metavar="FOLDER",
            help="Folder of eye patches from photographs of people with known gaze (see `mggr-tf "
            "data crop --gaze`). The stages adapted and joint use these patches if their config "
            "has `portraits`.",
        ),
    ):
        command = option(command)
    return command


def check_portraits(portraits: str | None, split_file: str | None, *, resume: bool) -> None:
    """If `--portraits-split` is set, check that `--portraits` or `--resume` is set, too.

    Raises:
        UsageError: `--portraits-split` is set, but both other options are missing.
    """
    if split_file is not None and portraits is None and not resume:
        raise UsageError(
            f"--portraits-split {split_file} needs --portraits FOLDER",
            code="portraits-split-without-portraits",
            path=split_file,
        )


def check_stages(config: Config, stages: Iterable[Stage], *, portraits: bool) -> None:
    """Check that the stage `adapted` has photographs.

    If another stage could use photographs and there are no photographs, print a message.

    Args:
        config: config of the run.
        stages: stages to train.
        portraits: whether the run has photographs.

    Raises:
        UsageError: the stages include `adapted`, and there are no photographs.
    """
    if portraits:
        return
    for stage in stages:
        if stage == "adapted":
            raise UsageError(
                "stage adapted needs photographs of people with known gaze; pass "
                "--portraits FOLDER (see docs/data.md)",
                code="adapted-without-portraits",
                stage=stage,
            )
        if config.stage(stage).portraits is not None:
            notify(f"no --portraits: stage {stage} trains without photographs")


def new_portraits(
    source: str | None, split_file: str | None, *, config: Config, data: Split
) -> Split | None:
    """Open the photographs of a new run.

    Args:
        source: folder of the photographs. `None` means a run without photographs.
        split_file: split file with the subjects to train on and the subjects to hold out. If
            `None`, a random share of the subjects is held out.
        config: config of the run.
        data: other training data of the run.

    Returns:
        the photographs, or `None` if `source` is `None`.

    Raises:
        DataError: the folder has no usable patches. This error is also raised if a subject is a
            training subject in one of the two data sets and held out in the other data set.
    """
    from mggr_tf.data.portraits import refuse_mixed_roles
    from mggr_tf.data.subject_split import read_split

    if source is None:
        return None
    split = None if split_file is None else read_split(split_file)
    found = _opened(source, config, split)
    refuse_mixed_roles(data, found)
    return found


def resumed_portraits(
    run: RunFolder,
    stages: Iterable[Stage],
    source: str | None,
    split_file: str | None,
    *,
    data: Split,
    may_differ: bool,
) -> Split | None:
    """Open the photographs of a resumed run.

    The folder of the photographs may have moved since the run was started.

    If the run had no photographs and `source` is set, the run uses photographs from now on.

    Args:
        run: run to resume.
        stages: stages that are still to be trained.
        source: folder of the photographs. `None` means the folder that the run has recorded.
        split_file: split file with the subjects to train on and the subjects to hold out. `None`
            means the subjects that the run has recorded.
        data: other training data of the run.
        may_differ: whether the photographs and subjects may differ from the recorded photographs
            and subjects.

    Returns:
        the photographs. `None` if the run has no photographs, or if no remaining stage needs them.

    Raises:
        RunError: the photographs differ from the recorded photographs. This error is also raised if
            an incomplete stage that can use photographs was started without photographs.
        UsageError: the subjects in the split file differ from the subjects of the run.
    """
    from mggr_tf.runs.provenance import note_data

    known = run.record.portraits
    if known is None:
        if source is None:
            return None
        _refuse_half_trained(run)
        found = new_portraits(source, split_file, config=run.config, data=data)
        assert found is not None
    else:
        needed = any(run.config.stage(stage).portraits is not None for stage in stages)
        if source is None and split_file is None and not needed:
            return None
        found = _known_people(run, source or known.source, split_file, may_differ=may_differ)
    note_data(run, found, may_differ=may_differ, portraits=True, notify=notify)
    return found


def followed_portraits(run: RunFolder, source: str | None) -> Split | None:
    """Open the photographs of a run on a worker that is not the chief.

    The chief is the first of the worker processes that share a training.

    Args:
        run: run that the chief has opened.
        source: folder of the photographs on this worker. `None` means the folder that the run has
            recorded.

    Returns:
        the photographs, or `None` if the run has no photographs.

    Raises:
        RunError: the photographs on this worker differ from the photographs of the chief.
    """
    from mggr_tf.data.subject_split import SubjectSplit
    from mggr_tf.runs.provenance import data_changes
    from mggr_tf.runs.record import DataRecord

    known = run.record.portraits
    if known is None:
        return None
    found = _opened(
        source or known.source, run.config, SubjectSplit(known.subjects, known.held_out)
    )
    if (changes := data_changes(known, DataRecord.of(found))) is not None:
        raise RunError(
            f"{run.path}: the portraits on this worker differ from the portraits of the chief "
            f"(the first worker): {changes}",
            code="worker-portraits-differ",
            path=run.path,
            changes=changes,
        )
    return found


def _known_people(
    run: RunFolder, source: str, split_file: str | None, *, may_differ: bool
) -> Split:
    """Open the photographs of the recorded subjects, or of the subjects of a split file.

    If `may_differ` is true, subjects without photographs are skipped.
    """
    from mggr_tf.data.subject_split import SubjectSplit, read_split

    known = run.record.portraits
    assert known is not None
    split = SubjectSplit(known.subjects, known.held_out)
    if split_file is not None:
        split = read_split(split_file)
        same = {*split.train} == {*known.subjects} and {*split.select} == {*known.held_out}
        if not same and not may_differ:
            raise UsageError(
                f"{run.path} was trained on other people in --portraits than the people in "
                f"{split_file}; omit --portraits-split, or pass --changed-data to continue with "
                "the new people",
                code="portraits-people-differ",
                path=run.path,
                split=split_file,
            )
    try:
        return _opened(source, run.config, split, some_may_lack=may_differ)
    except DataError as error:
        raise RunError(
            f"{run.path}: the portraits have changed since the run was started: {error}; restore "
            "the earlier portraits, or pass --changed-data to continue with the current ones",
            code="portraits-not-usable",
            path=run.path,
            cause=error.code,
            reason=str(error),
        ) from error


def _refuse_half_trained(run: RunFolder) -> None:
    for stage, settings in run.config.stages.items():
        record = run.record.stages.get(stage)
        if settings.portraits is None or record is None:
            continue
        if record.done and not record.complete:
            raise RunError(
                f"{run.path}: stage {stage} was started without portraits and is at step "
                f"{record.done} of {record.steps}; complete this stage without --portraits first, "
                "or make a new run",
                code="stage-started-without-portraits",
                path=run.path,
                stage=stage,
                done=record.done,
                steps=record.steps,
            )


def _opened(
    source: str, config: Config, split: SubjectSplit | None, *, some_may_lack: bool = False
) -> Split:
    from mggr_edge.common.progress import progress
    from mggr_tf.data.portraits import open_portraits

    found = open_portraits(
        source,
        config=config,
        split=split,
        some_may_lack=some_may_lack,
        progress=progress,
        notify=notify,
    )
    notify(
        f"portraits: {Path(source)}; {len(found.train)} patches of {len(found.train.subjects)} "
        f"people, {len(found.aside)} other people held out"
    )
    return found
