"""A reader that hangs in a driver is left behind, and the exit code with it is right."""

import subprocess
import sys

import pytest

HANGING = """
import atexit, sys, threading, time
from mggr_edge.leaving import READER, leave_readers_behind
atexit.register(lambda: print("taken apart"))
thread = threading.Thread(target=time.sleep, args=(float(sys.argv[1]),), name=READER, daemon=True)
thread.start()
thread.join(0.2)
print("recorded")
leave_readers_behind(3)
print("nobody hangs")
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("seconds", "code", "said"), [(60, 3, "recorded\n"), (0, 0, "recorded\nnobody hangs\n")]
)
def test_only_a_reader_that_hangs_ends_it_at_once(seconds, code, said):
    ended = subprocess.run(
        [sys.executable, "-c", HANGING, str(seconds)],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == code, ended.stderr
    assert ended.stdout.removesuffix("taken apart\n") == said
    assert ("taken apart" in ended.stdout) == (code == 0)
