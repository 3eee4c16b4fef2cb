"""One training at a time in a run folder, and only where it can write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mggr_edge.errors import DiskError, RunError
from mggr_tf.runs.lock import check_is_writable, only_training
from refusals import refusal

_HOLD = """
import sys, time
from pathlib import Path
from mggr_tf.runs.lock import only_training
with only_training(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _HOLD, str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.extended
def test_a_second_training_is_refused_until_the_first_is_gone_even_killed(tmp_path):
    with (
        held_by_another(tmp_path),
        refusal(RunError, "training-already-running", path=tmp_path),
        only_training(tmp_path),
    ):
        pytest.fail("two at once")
    for _ in range(2):  # it was killed; who ends well lets go as well
        with only_training(tmp_path):
            pass


def test_what_was_killed_while_it_wrote_leaves_nothing_for_the_next(tmp_path):
    for name in ("weights", "checkpoints/joint/step-00000004.partial-0a1b2c3d"):
        (tmp_path / name).mkdir(parents=True)
    kept = [tmp_path / "run.json", tmp_path / "weights" / "joint.partial-by-hand.npz"]
    half = [
        tmp_path / "run.partial-00000000.json",
        tmp_path / "weights" / "fine.partial-0a1b2c3d.npz",
        tmp_path / "checkpoints" / "joint" / "step-00000004.partial-0a1b2c3d" / "state",
    ]
    for file in (*kept, *half):
        file.write_text("")
    with only_training(tmp_path):
        assert all(file.exists() for file in kept)
        assert not any(file.exists() for file in half)
        assert list((tmp_path / "checkpoints" / "joint").iterdir()) == []


@pytest.mark.extended
def test_who_is_refused_removes_nothing_that_another_writes(tmp_path):
    with held_by_another(tmp_path):
        written = tmp_path / "run.partial-0a1b2c3d.json"
        written.write_text("")
        with refusal(RunError, "training-already-running"), only_training(tmp_path):
            pytest.fail("two at once")
        assert written.exists()


def test_a_place_that_is_not_there_is_judged_by_the_folder_around_it(tmp_path):
    check_is_writable(tmp_path / "runs" / "new")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "runs" / "new"):
        with refusal(DiskError, "not-a-folder", path=place, at=tmp_path / "file"):
            check_is_writable(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="permission does not bind root")
def test_no_permission_is_said(tmp_path):
    (tmp_path / "logs").mkdir()
    for folder in (tmp_path / "logs", tmp_path):
        folder.chmod(0o555)
        try:
            with refusal(DiskError, "no-write-permission", path=tmp_path, at=folder):
                check_is_writable(tmp_path)
        finally:
            folder.chmod(0o755)
