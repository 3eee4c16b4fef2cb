"""The test run itself: lost workers, hanging tests, and what tests leave running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]

GOOD = """
import time, pytest
@pytest.mark.parametrize("i", range(5))
def test_good(i):
    time.sleep(0.02)
"""

LOST = """
import os, signal, pytest
@pytest.mark.parametrize("i", range(5))
def test_lost(i):
    if i == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""

HANGING = """
import time
def test_hanging():
    time.sleep(600)
"""

LEAVING = """
import subprocess, sys, threading, time
def test_thread():
    threading.Thread(target=time.sleep, args=(8,), name="left behind").start()
def test_process():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(8)"])
def test_ends_in_time():
    threading.Thread(target=time.sleep, args=(0.1,)).start()
"""


SIGNALS = """
import signal, subprocess, sys
CHILD = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
def test_handlers():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    started = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True)
    assert started.stdout == "True\\n"
"""


def options_of_make() -> list[str]:
    """pytest's options in the Makefile."""
    line = re.search(
        r"^PYTEST := .* -m pytest (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert line is not None
    return line[1].split()


def run(
    folder: Path, *options: str, before: Callable[[], None] | None = None, **files: str
) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=before,
    )


def ignore_interrupts() -> None:
    """What `nohup` and a shell's `&` do to the programs that they start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.extended
@pytest.mark.parametrize("options", [(), ("-n", "1")])
def test_signals_work_in_a_run_in_the_background(tmp_path, options):
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow\n")
    ended = run(tmp_path, *options, before=ignore_interrupts, a=SIGNALS)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.extended
def test_a_lost_worker_fails_the_run_and_its_test_is_named(tmp_path):
    ended = run(tmp_path, *options_of_make(), a=GOOD, b=LOST, c=GOOD, d=GOOD)
    assert ended.returncode == 1
    assert "FAILED test_b.py::test_lost[2]" in ended.stdout


@pytest.mark.extended
def test_a_test_that_hangs_fails_the_run_and_is_named(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 2\ntimeout_method = thread\n")
    ended = run(tmp_path, *options_of_make(), a=GOOD, b=HANGING, c=GOOD)
    assert ended.returncode == 1
    assert "FAILED test_b.py::test_hanging" in ended.stdout


@pytest.mark.extended
def test_threads_and_processes_that_a_test_leaves_are_an_error(tmp_path):
    own = (ROOT / "tests" / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(re.sub(r"_GRACE_S = [\d.]+", "_GRACE_S = 1.0", own))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow\n")
    ended = run(tmp_path, "-rE", a=LEAVING)
    assert ended.returncode == 1
    assert "3 passed, 2 errors" in ended.stdout
    assert "ERROR test_a.py::test_thread" in ended.stdout
    assert "ERROR test_a.py::test_process" in ended.stdout
