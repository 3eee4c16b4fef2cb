"""Killed outright at any moment, a run goes on to the same weights, bit for bit."""

import random
import shutil
import signal
import time

import pytest

from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import fingerprint
from trained_by import run, start

pytestmark = pytest.mark.slow

KILLS = 10
"""Of each stage."""
STEPS = 2000
EVERYTHING_SMALL = ("synthetic.subjects=4", "synthetic.per_group=3", "checkpoints.seconds=0.1")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_changes):
    """What nothing disturbed, after the coarse and the joint stage; and an estimator to go on."""
    folder = tmp_path_factory.mktemp("kills")
    changed = [word for one in (*tiny_changes, *EVERYTHING_SMALL) for word in ("--set", one)]
    run("one", folder / "broken", "--stage", "estimator", "--steps", "20", *changed)
    before = folder / "broken"
    for stage in ("coarse", "joint"):
        shutil.copytree(before, folder / stage)
        run("one", folder / stage, "--stage", stage, "--steps", str(STEPS), "--resume")
        before = folder / stage
    return folder


def test_killed_ten_times_a_stage_it_ends_with_the_same_weights(runs):
    """In turn at a random moment, and while a checkpoint is being written."""
    out = runs / "broken"
    for stage in ("coarse", "joint"):
        begin = ("--stage", stage, "--steps", str(STEPS), "--resume")
        began = 0
        for number in range(KILLS):
            training = start("one", out, *begin)
            moment = wait_for_a_write if number % 2 else wait_a_while
            moment(out, stage, training, random.Random(number))
            training.send_signal(signal.SIGKILL)
            _, said = training.communicate()
            assert training.returncode == -signal.SIGKILL, said
            done = RunFolder.open(out).record.stages[stage].done
            assert began <= done < STEPS
            began = done
        assert began > 0
        run("one", out, *begin)
        assert not list((out / "checkpoints").rglob("*.partial-*"))
        assert fingerprint(RunFolder.open(out)) == fingerprint(RunFolder.open(runs / stage))


def wait_for_a_write(out, stage, training, moments):
    folder = out / "checkpoints" / stage
    for _ in range(moments.randrange(1, 4)):
        seen = set(folder.glob("*.partial-*"))
        while not set(folder.glob("*.partial-*")) - seen:
            assert training.poll() is None, training.communicate()
            time.sleep(0.0005)


def wait_a_while(out, stage, training, moments):
    log = out / "logs" / f"{stage}.csv"
    before = log.read_bytes() if log.exists() else b""
    while not log.exists() or log.read_bytes() == before:
        assert training.poll() is None, training.communicate()
        time.sleep(0.01)
    time.sleep(moments.uniform(0, 0.1))
