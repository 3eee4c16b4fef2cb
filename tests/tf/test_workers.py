"""Several workers, or devices, train what one trains: the same gradients, losses and weights."""

import os
import re
import shutil
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.runs.folder import RunFolder
from portrait_folder import write_portraits
from trained_by import relative_distance, run, start

FEW = ("synthetic.subjects=4", "synthetic.per_group=3")
_MOMENT = re.compile(r"(discriminator_)?optimizer/_variables/\d*[13579]/")
"""Of Adam's variables the first is the count, and then first and second moments take turns."""

SHARED = tuple(f"stages.{stage}.batch=4" for stage in ("estimator", "coarse", "joint"))


def arguments(stage, changes, *, steps):
    changed = [word for change in (*changes, *FEW, *SHARED) for word in ("--set", change)]
    return ("--stage", stage, "--steps", str(steps), *changed)


def losses(folder, stage):
    return np.array([*RunFolder.open(folder).logged(stage, "loss").values()])


def first_gradients(folder, stage):
    """Adam's first moments after one step, in which each clipped gradient has a fixed part."""
    file = folder / "checkpoints" / stage / "step-00000001" / "state"
    state = tf.train.load_checkpoint(str(file))
    moments = sorted(filter(_MOMENT.match, state.get_variable_to_shape_map()))
    assert moments
    return np.concatenate([state.get_tensor(name).ravel() for name in moments])


@pytest.mark.extended
def test_two_workers_train_what_one_trains(tmp_path, tiny_changes):
    """The estimator: its normalisation and its dropout are those of the whole batch too."""
    # Slowly: Adam's first steps are a whole learning rate wide in whatever direction rounding
    # decides, where a gradient is nearly nothing.
    slowly = (
        "stages.estimator.learning_rate=1.0e-5",
        "seed=5",  # by those of 1 and 3 a unit lies within rounding of where its ReLU has its kink
        "checkpoints.seconds=0",
        "checkpoints.keep=9",
    )
    asked = arguments("estimator", (*tiny_changes, *slowly), steps=8)
    run("one", tmp_path / "one", *asked)
    said = run("workers", tmp_path / "two", *asked)
    assert "[0] estimator: 8 steps" in said
    assert "[1] estimator: 8 steps" in said
    one, two = (losses(tmp_path / name, "estimator") for name in ("one", "two"))
    assert len(one) == len(two) == 8
    np.testing.assert_allclose(two, one, rtol=1e-4)
    ours, theirs = (first_gradients(tmp_path / name, "estimator") for name in ("one", "two"))
    assert np.linalg.norm(theirs - ours) < 1e-4 * np.linalg.norm(ours)
    assert relative_distance(tmp_path / "one", tmp_path / "two") < 1e-3
    assert not list((tmp_path / "two").rglob("*.partial-*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["workers", "mirrored"])
def test_coarse_and_joint_stages_agree(tmp_path, tiny_changes, how):
    every = ("checkpoints.seconds=0", "checkpoints.keep=100")
    base = tmp_path / "one"
    run("one", base, *arguments("estimator", (*tiny_changes, *every), steps=50))
    for stage, limit in (("coarse", 1e-4), ("joint", 1e-3)):
        other = tmp_path / how / stage
        shutil.copytree(base, other)
        on = ("--stage", stage, "--steps", "50", "--resume")
        run("one", base, *on)
        run(how, other, *on)
        ours, theirs = first_gradients(base, stage), first_gradients(other, stage)
        assert np.linalg.norm(theirs - ours) < 1e-4 * np.linalg.norm(ours)
        one, two = losses(base, stage), losses(other, stage)
        assert len(one) == len(two) == 50
        np.testing.assert_allclose(two, one, rtol=limit)
        assert relative_distance(base, other) < 1e-3


def wait_for(path, process):
    """Until a log has a first row."""
    until = time.monotonic() + 180
    while not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_when_one_worker_is_killed_the_training_ends_and_can_be_resumed(tmp_path, tiny_changes):
    often = (*tiny_changes, "checkpoints.seconds=0")
    asked = arguments("estimator", often, steps=60)
    run("workers", tmp_path / "whole", *asked)
    out = tmp_path / "broken"
    training = start("workers", out, *asked)
    wait_for(out / "logs" / "estimator.csv", training)
    workers = children_of(training.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    _, said = training.communicate(timeout=120)
    assert training.returncode == 128 + signal.SIGKILL, said
    assert re.search(r"^worker 1 ended first, with code 137;", said, re.M)
    assert "Traceback" not in said
    run("workers", out, "--stage", "estimator", "--resume")
    with np.load(out / "weights" / "estimator.npz") as ours:
        for name, value in np.load(tmp_path / "whole" / "weights" / "estimator.npz").items():
            np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.slow
def test_sigterm_saves_at_the_same_step_on_all_workers(tmp_path, tiny_changes):
    out = tmp_path / "run"
    training = start("workers", out, *arguments("estimator", tiny_changes, steps=100_000))
    wait_for(out / "logs" / "estimator.csv", training)
    started = time.monotonic()
    training.send_signal(signal.SIGTERM)
    _, said = training.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert training.returncode == 143, said
    assert said.count("interrupted; all progress is saved") == 1
    assert RunFolder.open(out).record.stages["estimator"].done > 0


@pytest.mark.slow
def test_when_launch_is_killed_its_workers_save_and_end(tmp_path, tiny_changes):
    out = tmp_path / "run"
    training = start("workers", out, *arguments("estimator", tiny_changes, steps=100_000))
    wait_for(out / "logs" / "estimator.csv", training)
    workers = children_of(training.pid)
    training.kill()
    training.communicate()
    until = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert RunFolder.open(out).record.stages["estimator"].done > 0


def children_of(pid):
    """By age: `mggr-tf launch` starts worker 0 first."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return sorted(int(word) for word in file.read().split())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["workers", "mirrored"])
def test_adapted_stages_agree(tmp_path, tiny_changes, how):
    """Photographs are redirected by each worker and shared like pairs."""
    eyes, base = write_portraits(tmp_path / "eyes", people=4), tmp_path / "one"
    adapted = (
        "stages.adapted={steps: 8, batch: 4, learning_rate: 1.0e-5, "
        "portraits: {pairs: 4, redirected: 2}}"
    )
    every = ("checkpoints.seconds=0", "checkpoints.keep=9", "seed=3")
    asked = arguments("joint", (*tiny_changes, *every, adapted), steps=3)
    run("one", base, *asked, "--portraits", str(eyes))
    other = tmp_path / how
    shutil.copytree(base, other)
    on = ("--stage", "adapted", "--steps", "8", "--resume")
    run("one", base, *on)
    run(how, other, *on)
    ours, theirs = first_gradients(base, "adapted"), first_gradients(other, "adapted")
    assert np.linalg.norm(theirs - ours) < 1e-4 * np.linalg.norm(ours)
    np.testing.assert_allclose(losses(other, "adapted"), losses(base, "adapted"), rtol=1e-4)
    assert relative_distance(base, other) < 1e-3
