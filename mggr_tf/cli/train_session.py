"""Create or reopen the run folder of `mggr-tf train`.

A donor is a run whose weights a new run starts from.
"""

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
    """Plan of a new run.

    Attributes:
        config: config of the run.
        out: folder of the run.
        donor: run whose weights the new run starts from. `None` means initial weights.
        vgg16: file with VGG-16 weights. `None` if the config does not use VGG-16 features.
        replaces: whether the new run replaces an existing run at `out`.
        is_named: whether the user named `out`. If false, and another program has created `out` in
            the meantime, the run uses another name.
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
    """Plan a new run.

    Errors in the arguments are raised here, before any data is opened.

    Args:
        config: config of the run.
        out: folder of the run. `None` selects a free name under `runs/`.
        from_run: run whose weights the new run starts from. `None` means initial weights.
        vgg16: file with VGG-16 weights. `None` if the config does not use VGG-16 features.
        force: whether an existing run may be replaced.
        held: exit stack that holds the lock of the replaced run until the exit stack closes.

    Raises:
        OutputExistsError: `out` exists and `force` is false.
        UsageError: the arguments contradict each other. This error is also raised if `out` exists
            and is not a run that can be replaced.
        RunError: the donor does not exist, or its weights do not fit the config. This error is also
            raised if a training is running in the run that would be replaced.
        DiskError: the folder is not writable.
    """
    from mggr_tf.runs.adoption import weights_to_adopt
    from mggr_tf.runs.folder import DEFAULT_ROOT
    from mggr_tf.runs.listing import free_name, open_run
    from mggr_tf.runs.lock import check_is_writable, only_training

    if (vgg16 is not None) != (config.models.features == "vgg16"):
        raise UsageError(
            f"config {config.name} has models.features: {config.models.features}; --vgg16 FILE is "
            "needed for `models.features: vgg16`, and not accepted for other features",
            code="vgg16-features-mismatch",
            config=config.name,
            features=config.models.features,
            vgg16=vgg16,
        )
    donor = open_run(from_run) if from_run is not None else None
    if donor is not None:
        config = _for_donor(config, donor)
        weights_to_adopt(config, donor)  # raises errors before an existing run is removed
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
        if config.models.estimator_state != fitting.models.estimator_state:
            notify(
                f"the estimator of {donor.path} does not predict the eye state; the new run is "
                "trained without this output"
            )
        if config.models.estimator_window != fitting.models.estimator_window:
            used = str(fitting.models.estimator_window).lower()
            notify(
                f"{donor.path} was trained with models.estimator_window: {used}; the new run uses "
                "this setting, too"
            )
    return fitting


def create_run(
    plan: NewRun, split: Split, portraits: Split | None, *, stage: Stage, held: ExitStack
) -> RunFolder:
    """Create a new run.

    Args:
        plan: plan of the run.
        split: training data.
        portraits: additional photographs. `None` means that there are none.
        stage: last stage to train.
        held: exit stack that holds the lock of the run.

    Raises:
        OutputExistsError: another training has created a run in the same folder in the meantime.
        RunError, DiskError: the run cannot be created. A partly created folder is removed.
    """
    from mggr_tf.runs.adoption import adopt
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
            adopt(run, plan.donor, stage=stage, train_on=_of_people(plan.donor, split))
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
        raise UsageError(
            f"{out} is not a run, and --force replaces only runs; choose another --out",
            code="force-not-a-run",
            path=out,
        )
    if donor is not None and donor.path.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"--force would delete {donor.path}, which is the run of --from; choose another --out",
            code="force-would-delete-donor",
            path=out,
            donor=donor.path,
        )


def _make(plan: NewRun) -> Path:
    """Create the run's folder.

    If the user named no folder, each training gets its own new folder.
    """
    from mggr_tf.runs.folder import DEFAULT_ROOT

    try:
        if not plan.is_named:
            return made_folder(DEFAULT_ROOT / plan.config.name)
        plan.out.mkdir(parents=True)
    except FileExistsError as error:
        raise OutputExistsError(plan.out) from error
    except OSError as error:
        raise RunError(
            f"{plan.out}: the run folder cannot be created: {error}",
            code="run-not-created",
            path=plan.out,
            reason=error.strerror,
        ) from error
    return plan.out


def _clear(out: Path) -> None:
    """Remove all files of a run. Keep the lock file, because this training holds the lock."""
    from mggr_tf.runs.lock import LOCK

    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _of_people(donor: RunFolder, split: Split) -> tuple[Stage, ...]:
    """Return the stages that are fine-tuned in addition to the requested stage.

    If the data differs from the donor's data, the estimator is fine-tuned on the training people of
    the new run. There are two reasons: the redirector is trained with the estimator's gazes, and a
    device uses the estimator for the source gaze.
    """
    return () if split.source == donor.record.data.source else ("estimator",)


def _say_if_known(config: Config, donor: RunFolder, split: Split) -> None:
    seen = {*donor.record.seen}
    if not (known := seen & {*split.train.subjects, *split.aside}):
        return
    drawn = split.source == "synthetic"
    advice = f"; for other subjects, pass --set synthetic.seed={config.synthetic.seed + 1}" * drawn
    notify(
        f"{len(known)} of these subjects are training subjects of {donor.path}, including "
        f"{len(seen & {*split.aside})} of the {len(split.aside)} held-out subjects: the "
        f"validation on these subjects is too optimistic, and `evaluate` rejects them{advice}"
    )


def _warn_if_unknown(donor: RunFolder) -> None:
    if not donor.record.origins_known:
        notify(
            f"warning: {donor.path} was made by a version that did not record the runs of --from: "
            "bundles of the new run will state that their licence is partly unknown"
        )


def reopen_run(
    out: Path | None,
    config_name: str | None,
    changes: tuple[str, ...],
    *,
    may_differ: bool,
    held: ExitStack,
) -> tuple[RunFolder, str]:
    """Open a run to resume it.

    Args:
        out: folder of the run.
        config_name: requested config. `None` means the config of the run.
        changes: changes to the requested config.
        may_differ: whether to continue if the requested config differs from the config of the run.
            If false, a difference is an error.
        held: exit stack that holds the lock of the run.

    Returns:
        the run, and the changes of the config as text. `config` of the run is the config to
        continue with. This config is not written to disk yet. The text is empty if there are no
        changes.

    Raises:
        UsageError: `out` is `None`. This error is also raised if a stage that is in progress was
            started with another number of steps.
        RunError: the folder is not a run, or another training is running in it. This error is also
            raised if the config file in the folder was edited, or another config is requested.
        DiskError: the folder is not writable.
    """
    from mggr_tf.config.files import changed_config, in_words, load_config
    from mggr_tf.runs.folder import RunFolder, run_file
    from mggr_tf.runs.lock import only_training
    from mggr_tf.runs.record import asked_changes, installed_versions, other_versions

    if out is None:
        raise UsageError("--resume needs --out RUN, the run to resume", code="resume-without-out")
    run_file(out)  # raises an error before a lock is created in a folder that is not a run
    held.enter_context(only_training(out))
    run = RunFolder.open(out)
    if versions := other_versions(run.record.versions, installed_versions()):
        notify(
            f"warning: {out} was started with other versions of packages ({versions}); the next "
            "training steps may give different results than with the earlier versions"
        )
    asked = changed_config(run.config, changes)
    if config_name is not None:
        asked = load_config(config_name, changes=changes)
    found = asked_changes(out, trained=run.config, asked=asked, may_differ=may_differ)
    if found:
        # All other settings of the run stay the same, for example a precision that `auto` has
        # selected.
        run.config = replace(
            run.config, stages=asked.stages, checkpoints=asked.checkpoints, limits=asked.limits
        )
        check_config_steps(run, {one.key for one in found})
        notify(f"the config changed: {in_words(found)}; training continues with the changes")
    return run, in_words(found)


def resumed_data(
    run: RunFolder,
    stage: Stage,
    data: str | None,
    *,
    subjects: tuple[str, ...] | None,
    may_differ: bool,
) -> Split:
    """Open the training data of a resumed run.

    The data may have moved since the run was started.

    Args:
        run: run to resume.
        stage: last stage to train.
        data: folder of the data, or `synthetic`. `None` means the data that the run has recorded.
        subjects: requested subjects. `None` means the subjects of the run. Other subjects are
            accepted only if `may_differ` is true and the run was started with named subjects.
        may_differ: whether the data may differ from the recorded data.

    Raises:
        UsageError: other subjects are requested, but they are not accepted.
        RunError: the data differs from the recorded data.
    """
    from mggr_tf.data.names import present_names
    from mggr_tf.runs.provenance import note_data, some_names
    from mggr_tf.runs.record import with_present_names

    source = run.record.data.source if data is None else data
    seed = run.config.synthetic.seed
    run.record = with_present_names(run.record, seed=seed, source=source)
    known = run.record.data
    subjects = None if subjects is None else present_names(subjects, source, seed=seed)
    # If a run has no held-out people, its subjects were named on the command line.
    named = None if known.held_out else subjects or known.subjects
    held_out = known.held_out
    if present_names(held_out, source, seed=seed) != held_out:
        # These subjects are numbers from other data. In this folder, the same numbers would select
        # synthetic people.
        held_out = ()
    if subjects is not None and {*subjects} != {*known.subjects} and not (named and may_differ):
        raise UsageError(
            f"{run.path} was trained on the subjects {some_names(known.subjects)}, but "
            f"{some_names(subjects)} are requested; omit --subjects, or make a new run",
            code="subjects-differ",
            path=run.path,
            found=some_names(subjects),
            expected=some_names(known.subjects),
        )
    if subjects is None and named and present_names(named, source, seed=seed) != named:
        raise RunError(
            f"{run.path} was trained on {some_names(named)} of {known.source}, but {source} "
            "contains synthetic people; restore the earlier data, or pass --changed-data and "
            "--subjects to continue with the synthetic people",
            code="subjects-of-other-data",
            path=run.path,
            subjects=some_names(named),
            source=source,
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
        advice = "; select subjects of this data with --subjects" if may_differ and named else ""
        raise RunError(
            f"{run.path}: the data has changed since the run was started: {error}{advice}",
            code="data-not-usable",
            path=run.path,
            cause=error.code,
            reason=str(error),
        ) from error
    note_data(run, found, may_differ=may_differ, notify=notify)
    return found
