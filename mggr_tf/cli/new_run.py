"""A run that `mggr-tf train` makes: planned before any data is read, made after it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mggr_edge.common.atomic import made_folder
from mggr_edge.errors import MggrError, OutputExistsError, RunError, UsageError
from mggr_tf.cli.options import check_is_free, say

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


def planned(
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
    from mggr_tf.runs.default_run import open_run
    from mggr_tf.runs.folder import DEFAULT_ROOT, free_name, weights_to_adopt
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
        say(f"the estimator of {donor.path} predicts no state of an eye; the new run goes without")
    return fitting


def created(
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
    from mggr_tf.runs.folder import DataRecord, RunFolder
    from mggr_tf.runs.lock import only_training

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
    say(
        f"{len(known)} of these subjects are training subjects of {donor.path}, "
        f"{len(seen & {*split.aside})} of the {len(split.aside)} held-out ones among them: "
        f"validation on those says little, and `evaluate` refuses them{others}"
    )


def _warn_if_unknown(donor: RunFolder) -> None:
    if not donor.record.origins_known:
        say(
            f"warning: {donor.path} was made by a version that did not record donors (--from): "
            "bundles of the new run state that their licence is partly unknown"
        )
