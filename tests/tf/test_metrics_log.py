"""A stage's CSV stays whole, whatever happened while it was written."""

from __future__ import annotations

import os
import resource
import signal

import pytest

from mggr_edge.errors import DiskError
from mggr_tf.runs.metrics_log import append_row, column, columns
from refusals import refusal


def test_rows_are_read_back_and_the_later_of_a_step_counts(tmp_path):
    file = tmp_path / "log.csv"
    assert column(file, "loss") == {}
    assert columns(file) == ()
    for step, loss in ((25, 0.5), (50, 0.25), (50, 0.125)):
        append_row(file, step, {"loss": loss, "l1": 2 * loss})
    assert columns(file) == ("loss", "l1")
    assert column(file, "loss") == {25: 0.5, 50: 0.125}
    assert column(file, "l1") == {25: 1.0, 50: 0.25}
    assert column(file, "absent") == column(file, "step") == {}


@pytest.mark.parametrize("cut", range(1, 16))
def test_a_row_that_was_cut_anywhere_is_left_out_and_taken_away(tmp_path, cut):
    file = tmp_path / "log.csv"
    append_row(file, 25, {"loss": 0.5, "l1": 1.0})
    whole = file.read_bytes()
    append_row(file, 50, {"loss": 0.25125, "l1": 7.5})
    file.write_bytes(file.read_bytes()[: len(whole) + cut])
    assert column(file, "l1") == {25: 1.0}
    append_row(file, 50, {"loss": 0.125, "l1": 0.25})
    assert column(file, "l1") == {25: 1.0, 50: 0.25}
    assert file.read_bytes() == whole + b"50,0.125,0.25\r\n"


def test_a_row_costs_the_same_however_long_the_file_is(tmp_path):
    """Counted by the kernel: what is read of a file of 4 MB to append to it."""
    file = tmp_path / "log.csv"
    append_row(file, 1, {"loss": 0.5, "l1": 1.0})
    with file.open("ab") as handle:
        handle.write(b"2,0.25,0.5\r\n" * 350_000)
    before = read_bytes()
    append_row(file, 3, {"loss": 0.125, "l1": 0.25})
    assert read_bytes() - before < 1_000_000
    assert file.read_bytes().endswith(b"2,0.25,0.5\r\n3,0.125,0.25\r\n")


def read_bytes():
    """What this process has read so far."""
    with open("/proc/self/io", encoding="ascii") as counts:
        return int(counts.readline().removeprefix("rchar: "))


def test_a_header_that_was_cut_is_written_again(tmp_path):
    file = tmp_path / "log.csv"
    file.write_bytes(b"step,lo")
    assert columns(file) == ()
    append_row(file, 25, {"loss": 0.5})
    assert column(file, "loss") == {25: 0.5}


@pytest.mark.parametrize(
    "spoilt", [b"50,0.3125,0.2,9\r\n", b"50\r\n", b"5x,1,2\r\n", b"\0\0\0\r\n"]
)
def test_a_spoilt_row_in_the_middle_is_left_out(tmp_path, spoilt):
    file = tmp_path / "log.csv"
    append_row(file, 25, {"loss": 0.5, "l1": 1.0})
    with file.open("ab") as handle:
        handle.write(spoilt)
    append_row(file, 75, {"loss": 0.25, "l1": 0.5})
    assert column(file, "loss") == {25: 0.5, 75: 0.25}


def test_other_metrics_get_columns_of_their_own(tmp_path):
    file = tmp_path / "log.csv"
    append_row(file, 25, {"loss": 0.5, "l1": 1.0})
    append_row(file, 50, {"l1": 0.75, "gaze": 3.0})
    append_row(file, 75, {"loss": 0.25})
    assert columns(file) == ("loss", "l1", "gaze")
    assert column(file, "loss") == {25: 0.5, 75: 0.25}
    assert column(file, "l1") == {25: 1.0, 50: 0.75}
    assert column(file, "gaze") == {50: 3.0}
    assert os.listdir(tmp_path) == ["log.csv"]


def test_a_row_that_the_disk_takes_half_of_leaves_nothing(tmp_path):
    """The kernel's own refusal, in the middle of a row."""
    file = tmp_path / "log.csv"
    append_row(file, 25, {"loss": 0.5})
    before = file.read_bytes()
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, was[1]))
        with refusal(DiskError, "log-row-not-written", path=file, reason="file too large"):
            append_row(file, 50, {"loss": 0.25})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.read_bytes() == before
    append_row(file, 50, {"loss": 0.25})
    assert column(file, "loss") == {25: 0.5, 50: 0.25}
