"""Run folders of `mggr-tf train`: planned and made, or opened again."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mggr_edge.common.atomic import made_folder
from mggr_edge.errors import DataError, MggrError, OutputExistsError, RunError, UsageError
from mggr_tf.cli.options import check_is_free, notify
from mggr_tf.cli.train_data import check_config_steps, opened_data

if TYPE_CHECKING:
    from mggr_tf.config import Config
    from mggr_tf.config.stages import Stage
    from mggr_tf.data.source import Split
    from mggr_tf.runs.folder import RunFolder


@dataclass(frozen=True)
class NewRun:
    """What is to be made.

    Attributes:
        config: what it trains.
        out: its folder.
        donor: whose weights it starts from.
        vgg16: weights for the perceptual loss.
        replaces: whether there is a run already, which this one takes the place of.
        is_named: whether `out` was named; another name is taken otherwise if it is not free.
    """

    config: Config
    out: Path
    donor: RunFolder | None
    vgg16: Path | None
    replaces: bool
    is_named: bool = True


def plan_run(
    config: Config,
    out: Path | None,
    *,
    from_run: str | None,
    vgg16: Path | None,
    force: bool,
    held: ExitStack,
) -> NewRun:
    """Plans a run; what cannot be made is refused at once.

    Args:
        config: what it trains.
        out: its folder; None finds a free name under `runs/`.
        from_run: whose weights it starts from.
        vgg16: weights for the perceptual loss.
        force: a run that is there may be replaced.
        held: takes the lock of the run that is replaced.

    Raises:
        UsageError: arguments that do not go together, or something else in the way.
        RunError: there is no donor, or none whose weights fit, or a training runs in the run to
            replace.
        DiskError: nothing can be written there.
    """
    from mggr_tf.runs.folder import DEFAULT_ROOT, weights_to_adopt
    from mggr_tf.runs.listing import free_name, open_run
    from mggr_tf.runs.lock import check_is_writable, only_training

    if (vgg16 is not None) != (config.models.features == "vgg16"):
        raise UsageError(
            f"config {config.name} compares features of {config.models.features}; "
            "--vgg16 FILE and `models.features: vgg16` go together"
        )
    donor = open_run(from_run) if from_run is not None else None
    if donor is not None:
        config = _for_donor(config, donor)
        weights_to_adopt(config, donor)  # before anything is cleared for them
    is_named = out is not None
    if out is None:
        out = free_name(DEFAULT_ROOT, config.name)
    check_is_free(out, force=force)
    check_is_writable(out)
    replaces = out.exists()
    if replaces:
        _check_is_replaceable(out, donor)
        held.enter_context(only_training(out))
    return NewRun(config, out, donor, vgg16, replaces, is_named)


def _for_donor(config: Config, donor: RunFolder) -> Config:
    fitting = config.for_donor(donor.config)
    if fitting != config:
        notify(
            f"the estimator of {donor.path} predicts no state of an eye; the new run goes without"
        )
    return fitting


def create_run(
    plan: NewRun, split: Split, portraits: Split | None, *, stage: Stage, held: ExitStack
) -> RunFolder:
    """Makes the run, for training on this data up to this stage.

    Args:
        plan: what to make.
        split: what it is trained on.
        portraits: photographs that it is trained on as well.
        stage: the last one to train.
        held: takes the run's lock.

    Raises:
        OutputExistsError: another training made a run there meanwhile.
        RunError, DiskError: it cannot be made, and nothing of it is left.
    """
    from mggr_tf.runs.folder import RunFolder
    from mggr_tf.runs.lock import only_training
    from mggr_tf.runs.record import DataRecord

    out = plan.out
    if plan.replaces:
        _clear(out)
    else:
        out = _make(plan)
        held.enter_context(only_training(out))
    try:
        run = RunFolder.create(
            out,
            plan.config,
            DataRecord.of(split),
            portraits=None if portraits is None else DataRecord.of(portraits),
            vgg16=plan.vgg16,
        )
        if plan.donor is not None:
            run.adopt(plan.donor, stage=stage, train_on=_of_people(plan.donor, split))
            for source in (split, portraits):
                if source is not None:
                    _say_if_known(plan.config, plan.donor, source)
            _warn_if_unknown(plan.donor)
    except MggrError:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return run


def _check_is_replaceable(out: Path, donor: RunFolder | None) -> None:
    if not (out / "run.json").is_file():
        raise UsageError(f"{out} is no run; --force replaces runs only")
    if donor is not None and donor.path.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"--force would remove {donor.path}, whose weights --from asks for; choose another "
            "--out"
        )


def _make(plan: NewRun) -> Path:
    """Creates the run's folder; two trainings that name none do not get the same one."""
    from mggr_tf.runs.folder import DEFAULT_ROOT

    try:
        if not plan.is_named:
            return made_folder(DEFAULT_ROOT / plan.config.name)
        plan.out.mkdir(parents=True)
    except FileExistsError as error:
        raise OutputExistsError(plan.out) from error
    except OSError as error:
        raise RunError(f"{plan.out}: the run cannot be made: {error}") from error
    return plan.out


def _clear(out: Path) -> None:
    """Removes all of a run but its lock, which this training holds."""
    from mggr_tf.runs.lock import LOCK

    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _of_people(donor: RunFolder, split: Split) -> tuple[Stage, ...]:
    """Stages that go on, too: on other data the estimator gets to know its people.

    The redirector aims by it, and a device asks it where they look.
    """
    return () if split.source == donor.record.data.source else ("estimator",)


def _say_if_known(config: Config, donor: RunFolder, split: Split) -> None:
    seen = {*donor.record.seen}
    if not (known := seen & {*split.train.subjects, *split.aside}):
        return
    drawn = split.source == "synthetic"
    others = f"; others come with --set synthetic.seed={config.synthetic.seed + 1}" * drawn
    notify(
        f"{len(known)} of these subjects are training subjects of {donor.path}, "
        f"{len(seen & {*split.aside})} of the {len(split.aside)} held-out ones among them: "
        f"validation on those says little, and `evaluate` refuses them{others}"
    )


def _warn_if_unknown(donor: RunFolder) -> None:
    if not donor.record.origins_known:
        notify(
            f"warning: {donor.path} was made by a version that did not record donors (--from): "
            "bundles of the new run state that their licence is partly unknown"
        )


def reopen_run(
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
    from mggr_tf.config.files import changed_config, in_words, load_config
    from mggr_tf.runs.folder import RunFolder, run_file
    from mggr_tf.runs.lock import only_training
    from mggr_tf.runs.record import asked_changes, installed_versions, other_versions

    if out is None:
        raise UsageError("--resume needs --out RUN, the run to go on with")
    run_file(out)  # in what is no run, no lock is made
    held.enter_context(only_training(out))
    run = RunFolder.open(out)
    if versions := other_versions(run.record.versions, installed_versions()):
        notify(
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
        notify(f"the config changed: {in_words(found)}; going on by it")
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
    from mggr_tf.data.names import present_names
    from mggr_tf.runs.provenance import note_data, some_names
    from mggr_tf.runs.record import with_present_names

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
    note_data(run, found, may_differ=may_differ, notify=notify)
    return found
