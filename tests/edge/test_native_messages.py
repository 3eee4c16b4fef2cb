"""What a TFLite runtime prints while it loads a model: errors are shown, information is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from mggr_edge.models.runtimes.tflite import available_interpreters, without_information

LOAD = """
import sys
from mggr_edge.errors import BundleError
from mggr_edge.models.installed import packaged_bundles
from mggr_edge.models.runtimes.tflite import TFLiteRunner
content = next(packaged_bundles().rglob("*.tflite")).read_bytes()
TFLiteRunner(content, interpreter=sys.argv[1])
"""
INFORMATION = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


@pytest.mark.processes
@pytest.mark.parametrize("interpreter", available_interpreters())
def test_loading_a_model_prints_nothing(interpreter: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, interpreter],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_everything_else_is_passed_on_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    with without_information():
        os.write(2, b"ERROR: no such op\n" + INFORMATION)
        os.write(2, b"INFO: of a service\n")
        os.write(2, b"WARNING: slow\nhalf a line")
    os.write(2, b", and its end\n")
    assert capfd.readouterr().err.splitlines() == [
        "ERROR: no such op",
        "INFO: of a service",
        "WARNING: slow",
        "half a line, and its end",
    ]


def test_an_exception_loses_no_message(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with without_information():
            os.write(2, b"ERROR: no such op\n")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert capfd.readouterr().err == "ERROR: no such op\n"


def test_threads_lose_no_line(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> None:
        for line in range(50):
            with without_information():
                os.write(2, INFORMATION)
            os.write(2, b"%d %d\n" % (number, line))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{number} {line}" for number in range(4) for line in range(50)}
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == len(expected)
    assert set(lines) == expected


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="nothing is held back here")
def test_a_write_that_began_before_the_end_overwrites_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have looked up where descriptor 2 leads, and write after it was put back."""
    late: list[int] = []
    read = os.pread

    def read_after_a_late_write(*given: int) -> bytes:
        if late:
            os.write(late[0], b"late\n")
            os.close(late.pop())
        return read(*given)

    with without_information():
        os.write(2, INFORMATION)
        os.write(2, b"early\n")
        late.append(os.dup(2))
        os.lseek(2, 0, os.SEEK_SET)
        monkeypatch.setattr(os, "pread", read_after_a_late_write)
    assert capfd.readouterr().err.splitlines() == ["early", "late"]


def test_a_closed_standard_error_is_left_closed() -> None:
    real = os.dup(2)
    os.close(2)
    try:
        with without_information():
            pass
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(2)
    finally:
        os.dup2(real, 2)
        os.close(real)
