"""Copy the weights of another run into a run.

The other run is called the donor here, and the source run in messages.

The record of the run then also contains the training data of the donor, including the data of the
donor's donors. The weights were trained on this data.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import RunError
from mggr_tf.config import Config
from mggr_tf.config.sizes import BranchSize
from mggr_tf.config.stages import Stage
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import StageRecord


def adopt(
    run: RunFolder, donor: RunFolder, *, stage: Stage, train_on: Collection[Stage] = ()
) -> None:
    """Copy the weights of another run. The stages that `stage` needs then count as complete.

    A donor can have two estimators, `estimator` and `adapted`. If the run fine-tunes the estimator,
    the donor's estimator for devices is copied. Otherwise, both estimators are copied. But
    `adapted` is not copied if `stage` is `adapted`.

    Args:
        run: run without weights.
        donor: run to copy from.
        stage: last stage that the run will train.
        train_on: stages before `stage` that the run will train. They start from the donor's
            weights.

    Raises:
        RunError: `donor` contains no weights. Or the structure of a network of `donor` differs from
            the config of `run`.
    """
    names = {name: name for name in weights_to_adopt(run.config, donor)}
    if "estimator" in train_on:
        names["estimator"] = donor.device_estimator
    if "estimator" in train_on or stage == "adapted":
        names.pop("adapted", None)
    _copy(run, donor, names)
    copied: tuple[Stage, ...] = ("adapted",) if "adapted" in names else ()
    for earlier in (*run.config.needed(stage), *copied):
        if earlier in train_on:
            continue
        if donor.is_complete(earlier) or (earlier == "coarse" and "coarse" in names):
            record = donor.record.stages.get(earlier, StageRecord(steps=0, complete=True))
            # The minutes in the record are from the budget of the donor. Remove them, because the
            # budget of the run is only for the stages that the run trains.
            run.update_stage(earlier, replace(record, minutes=None))


def weights_to_adopt(config: Config, donor: RunFolder) -> tuple[str, ...]:
    """Return the networks whose weights a run with this config can copy from another run.

    Raises:
        RunError: the donor has no weights. Or a network of the donor has a structure that differs
            from this config.
    """
    networks = ("estimator", "coarse", "fine", "adapted")
    names = tuple(name for name in networks if donor.has_weights(name))
    if not names:
        raise RunError(
            f"the source run {donor.path} contains no weights",
            code="donor-without-weights",
            donor=donor.path,
        )
    _refuse_other_networks(config, donor, names)
    return names


def warm_start(run: RunFolder, donor: RunFolder) -> None:
    """Copy the weights of the estimator and of the redirector from another run.

    The copy does not mark any stage as complete.

    If the donor's estimator does not predict the eye state, the layers for this output keep their
    random initial weights. If the donor's redirector has an older structure, its weights are
    converted (see `mggr_tf.models.upgrade`).

    Args:
        run: run without weights.
        donor: run to copy from. If it has two estimators, the estimator for devices is copied.

    Raises:
        RunError: the donor lacks a required network. Or the structure of a donor network differs
            from the config of the run.
    """
    # Import these modules here, because they import TensorFlow. `adopt` does not need TensorFlow.
    from mggr_tf.models.networks import Networks, load_weights, save_weights

    estimator = donor.device_estimator
    if not donor.has_weights(estimator):
        raise RunError(
            f"the source run {donor.path} contains no weights of the estimator",
            code="donor-lacks-network",
            donor=donor.path,
            networks="estimator",
        )
    _refuse_other_networks(run.config.for_donor(donor.config), donor, ["estimator"])
    _copy_redirector(run, donor)
    theirs, ours = Networks(donor.config).estimator, Networks(run.config).estimator
    load_weights(theirs, donor.weights_file(estimator))
    for layer in theirs.layers:
        if layer.weights:
            ours.get_layer(layer.name).set_weights(layer.get_weights())
    with atomic_file(run.weights_file("estimator"), force=True) as temporary:
        save_weights(ours, temporary)


def _copy_redirector(run: RunFolder, donor: RunFolder) -> None:
    parts = run.config.models.parts
    if missing := [name for name in parts if not donor.has_weights(name)]:
        networks = " and ".join(missing)
        raise RunError(
            f"the source run {donor.path} contains no weights of the {networks} network",
            code="donor-lacks-network",
            donor=donor.path,
            networks=networks,
        )
    _refuse_other_networks(run.config, donor, parts)
    _copy(run, donor, {name: name for name in parts})


def _copy(run: RunFolder, donor: RunFolder, names: Mapping[str, str]) -> None:
    """Copy files with weights. `names` maps names in the run to names in the donor.

    Weights of an older structure are converted.
    """
    # The record must contain the origin before the weights are copied.
    run.note_origins(donor.record.sources(donor.path.resolve().name))
    for name, theirs in names.items():
        with atomic_file(run.weights_file(name), force=True) as temporary:
            if _has_older_structure(run.config, donor.config, name):
                _convert(run, donor, name, temporary)
            else:
                shutil.copyfile(donor.weights_file(theirs), temporary)


def _has_older_structure(ours: Config, theirs: Config, name: str) -> bool:
    """Return whether a branch has an older structure, whose weights can be converted to ours."""
    if name not in ("coarse", "fine") or ours.builds_alike(name, theirs):
        return False
    old, new = getattr(theirs.models, name), getattr(ours.models, name)
    if not isinstance(old, BranchSize) or not isinstance(new, BranchSize):
        return False
    models = replace(theirs.models, coarse=ours.models.coarse, fine=ours.models.fine)
    as_ours = replace(theirs, models=models)
    return new.can_start_from(old) and ours.builds_alike(name, as_ours)


def _convert(run: RunFolder, donor: RunFolder, name: str, file: Path) -> None:
    from mggr_tf.models.networks import Networks, load_weights, save_weights
    from mggr_tf.models.upgrade import upgrade

    old = Networks(donor.config).averaged.part(name)
    new = Networks(run.config).averaged.part(name)
    load_weights(old, donor.weights_file(name))
    upgrade(old, new, new_size=getattr(run.config.models, name))
    save_weights(new, file)


def _refuse_other_networks(config: Config, donor: RunFolder, names: Iterable[str]) -> None:
    other = [
        name
        for name in names
        if not config.builds_alike(name, donor.config)
        and not _has_older_structure(config, donor.config, name)
    ]
    if other:
        networks = " and ".join(other)
        raise RunError(
            f"the {networks} network of the source run {donor.path} does not match config "
            f"{config.name}",
            code="donor-network-differs",
            donor=donor.path,
            networks=networks,
            config=config.name,
        )
