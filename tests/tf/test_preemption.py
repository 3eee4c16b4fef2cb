"""SIGTERM and Ctrl-C: a whole step is kept, and the run goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mggr_tf.runs.folder import RunFolder
from mggr_tf.training.distribution import Preempted, SecondSignal, deferred_signals

pytestmark = pytest.mark.extended

TINY = (
    *("--set", "synthetic.subjects=2", "--set", "synthetic.per_group=2"),
    *("--set", "models.estimator=[8, 8, 8, 8]", "--set", "stages.estimator.batch=4"),
    *("--set", "models.estimator_state=false", "--set", "stages.estimator.losses=[]"),
)


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (signal.SIGTERM, Preempted),
        (signal.SIGHUP, Preempted),
        (signal.SIGINT, KeyboardInterrupt),
    ],
)
def test_a_signal_waits_for_the_step_to_end(number, raised):
    done = []

    def step_and_look():
        with deferred_signals() as signals:
            assert not signals.came
            os.kill(os.getpid(), number)
            done.append("the step")
            assert signals.came
            signals.heed()

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stopped:
        step_and_look()
    assert done == ["the step"]
    assert stopped.type is raised
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_wait():
    def hang():
        with deferred_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    with pytest.raises(SecondSignal):
        hang()


def test_in_another_thread_nothing_is_held_back():
    found = []

    def run():
        with deferred_signals() as signals:
            found.append(signals.came)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]


def training(out, *more):
    command = ["train", "--stage", "estimator", "--out", str(out), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "mggr_tf", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_training_that_is_preempted_saves_at_once_and_has_a_code_of_its_own(tmp_path):
    running = training(tmp_path / "run", "--steps", "1000000", *TINY)
    log = tmp_path / "run" / "logs" / "estimator.csv"
    ends_s = time.monotonic() + 120
    while not log.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < ends_s
        time.sleep(0.05)
    started = time.monotonic()
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 143, said
    assert time.monotonic() - started < 20  # seconds on a machine that has nothing else to do
    assert "interrupted; all progress is saved. Resume with: mggr-tf train" in said
    assert "Traceback" not in said
    record = RunFolder.open(tmp_path / "run").record.stages["estimator"]
    assert not record.complete
    logged = [int(line.split(",")[0]) for line in log.read_text().splitlines()[1:]]
    assert record.done >= logged[-1] > 0


@pytest.mark.slow
def test_a_preempted_run_ends_as_an_unbroken_one(tmp_path):
    whole = training(tmp_path / "whole", "--steps", "400", *TINY)
    assert whole.wait(timeout=300) == 0
    whole.communicate()
    broken = training(tmp_path / "broken", "--steps", "400", *TINY)
    log = tmp_path / "broken" / "logs" / "estimator.csv"
    codes = []
    for _ in range(3):
        seen = log.read_bytes() if log.exists() else b""
        while broken.poll() is None and (not log.exists() or log.read_bytes() == seen):
            time.sleep(0.02)
        broken.send_signal(signal.SIGTERM)
        broken.communicate(timeout=60)
        assert broken.returncode in (0, 143)
        codes.append(broken.returncode)
        broken = training(tmp_path / "broken", "--resume")
    assert 143 in codes  # else nothing was broken
    assert broken.wait(timeout=300) == 0
    broken.communicate()
    files = [tmp_path / name / "weights" / "estimator.npz" for name in ("whole", "broken")]
    with np.load(files[0]) as one, np.load(files[1]) as other:
        for key in one.files:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
