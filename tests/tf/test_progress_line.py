"""The line of a training: one on a terminal, a few in a log, and honest about time."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from mggr_tf.config.files import load_config
from mggr_tf.training.progress_line import Pace, ProgressLine, images_a_step, in_words


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


METRICS = {"loss": 0.312, "l1": 0.051, "gaze": 0.02, "adversarial": 1.25, "discriminator": 0.7}


@pytest.fixture
def terminal():
    """A pseudo terminal of 60 columns: a stream to write to, and what has arrived since."""
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with open(writing, "w") as stream:

        def arrived():
            stream.write("\0")  # it arrives some time; this is how its end is known
            stream.flush()
            text = ""
            while not text.endswith("\0"):
                text += os.read(reading, 1 << 16).decode()
            return text[:-1]

        yield stream, arrived
    os.close(reading)


def line_of(stream, clock, total=16000, **more):
    return ProgressLine("joint", total, images_a_step=16, stream=stream, clock=clock, **more)


def shown_by(text, columns):
    """The rows of a screen after a text: what a terminal makes of returns and newlines."""
    rows, x = [""], 0
    for character in text:
        if character == "\r":
            x = 0
        elif character == "\n":
            rows.append("")
        else:
            if x == columns:
                rows.append("")
                x = 0
            rows[-1] = rows[-1].ljust(x)[:x] + character + rows[-1][x + 1 :]
            x += 1
    return [row.rstrip() for row in rows]


def test_on_a_terminal_it_is_one_line_within_the_width(terminal):
    stream, arrived = terminal
    clock = Clock()
    with line_of(stream, clock) as line:
        text = arrived()
        for step in range(1, 200):
            clock.now += 0.35
            line.tell(step, METRICS)
            text += arrived()  # a terminal's buffer is small
    end = arrived()
    assert text.count("\r") == 200  # slow steps are all shown
    assert text.count("\n") == 0
    assert end.count("\n") == 1
    assert all(len(part) < 60 for part in text.split("\r"))
    now = "joint 199/16000  loss 0.312  45.7 images/s  ETA 1 h 32 min"
    assert shown_by(text, 60) == [now]
    assert shown_by(text + end, 60) == [now, ""]


def test_ten_times_a_second_at_most(terminal):
    stream, arrived = terminal
    clock = Clock()
    with line_of(stream, clock) as line:
        for step in range(1, 1001):
            clock.now += 0.002
            line.tell(step, METRICS)
        assert 15 <= arrived().count("\r") <= 21


def test_a_shorter_line_leaves_nothing_of_a_longer_one(terminal):
    stream, arrived = terminal
    clock = Clock()
    with line_of(stream, clock, total=3) as line:
        for step in (1, 2, 3):
            clock.now += 50.0
            line.tell(step, {"loss": 1.0, "long" * step: 1.0} if step < 3 else {"loss": 1.0})
        line._shown = {"loss": 1.0}
        line._draw()
        assert shown_by(arrived(), 60) == ["joint 3/3  loss 1  0.32 images/s  in 2 min"]


def test_a_terminal_in_another_process_gets_one_line_too():
    """No clock and no stream of a test's making: what a user sees."""
    code = (
        "import sys, time\n"
        "from mggr_tf.training.progress_line import ProgressLine\n"
        "with ProgressLine('joint', 20, images_a_step=16, stream=sys.stderr) as line:\n"
        "    for step in range(1, 21):\n"
        "        time.sleep(0.02)\n"
        "        line.tell(step, {'loss': 0.5, 'l1': 0.25})\n"
    )
    reading, writing = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
    subprocess.run([sys.executable, "-c", code], stderr=writing, env=environment, check=True)
    os.close(writing)
    text = os.read(reading, 1 << 16).decode()
    os.close(reading)
    assert text.count("\n") == 1
    # A new pseudo terminal has no size; 80 columns are every terminal's.
    rows = shown_by(text.replace("\r\n", "\n"), 80)
    assert rows[0].startswith("joint 20/20  loss 0.5  l1 0.25")
    assert re.search(r" in \d+ s$", rows[0])
    assert rows[1:] == [""]


def test_in_a_log_it_is_a_plain_line_every_half_minute_and_at_the_end():
    log, clock = io.StringIO(), Clock()
    with line_of(log, clock, total=100) as line:
        for step in range(1, 101):
            clock.now += 1.0
            line.tell(step, METRICS)
    lines = log.getvalue().splitlines()
    pace = "steps_per_s=1 images_per_s=16"
    metrics = "loss=0.312 l1=0.051 gaze=0.02 adversarial=1.25 discriminator=0.7"
    assert lines == [
        f"stage=joint step={step} total=100 elapsed_s={step} {pace} eta_s={100 - step} {metrics}"
        for step in (30, 60, 90, 100)
    ]
    assert "\r" not in log.getvalue()


def test_a_log_line_has_its_fields_before_anything_is_known():
    log, clock = io.StringIO(), Clock()
    with line_of(log, clock, total=100, done=40) as line:
        clock.now += 200.0
        line.tell(41, {"loss": 1.0})
    keys = ["stage", "step", "total", "elapsed_s", "steps_per_s", "images_per_s", "eta_s", "loss"]
    for text in log.getvalue().splitlines():
        fields = dict(field.split("=") for field in text.split(" "))
        assert list(fields) == keys
        assert (fields["step"], fields["elapsed_s"]) == ("41", "200")
        assert fields["steps_per_s"] == fields["images_per_s"] == fields["eta_s"] == "-"


def test_a_pipe_gets_nothing_of_what_is_over_at_once():
    reading, writing = os.pipe()
    clock = Clock()
    with open(writing, "w") as stream:
        for seconds in (0.1, 1.0):
            with line_of(stream, clock, total=2) as line:
                for step in (1, 2):
                    clock.now += seconds
                    line.tell(step, {"loss": 1.0})
    with open(reading) as arrived:
        assert arrived.read() == (
            "stage=joint step=2 total=2 elapsed_s=2 steps_per_s=1 images_per_s=16 eta_s=0 loss=1\n"
        )


def test_an_error_leaves_the_line_whole(terminal):
    stream, arrived = terminal

    def fail():
        with line_of(stream, Clock()) as line:
            line.tell(1, METRICS)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert arrived().endswith("\r\n")


def test_nowhere_it_says_nothing():
    with line_of(None, Clock()) as line:
        line.tell(1, METRICS)


def test_pauses_are_no_steps_but_take_their_time():
    """Five seconds of pauses in eleven of steps: the same pace, and nearly half as long again."""
    clock, log = Clock(), io.StringIO()
    with line_of(log, clock, total=1000) as line:
        for step in range(1, 111):
            clock.now += 0.1
            line.tell(step, {"loss": 1.0})
            if step in (11, 110):
                with line.pause():
                    clock.now += 2.5
    assert "steps_per_s=10 images_per_s=160 eta_s=130 " in log.getvalue().splitlines()[-1]
    assert line._pace.seconds_left(890) == pytest.approx(89 * (1 + 5 / 10.9))


def test_the_first_step_traces_and_a_slow_one_is_not_the_rule():
    pace = Pace(0.0)
    pace.step(40.0)
    assert pace.steps_a_second() is None
    assert pace.seconds_left(10) is None
    now = 40.0
    for _ in range(9):
        now += 1.0
        pace.step(now)
    pace.step(now + 21.0)
    assert pace.steps_a_second() == pytest.approx(10 / 30)
    assert pace.seconds_left(10) == pytest.approx(10.0)


def test_only_the_last_half_minute_counts():
    pace, now = Pace(0.0), 0.0
    for seconds in [1.0] * 100 + [0.5] * 100:
        now += seconds
        pace.step(now)
    assert pace.steps_a_second() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (45, "45 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (720, "12 min"),
        (3590, "1 h 0 min"),
        (4320, "1 h 12 min"),
        (183600, "2 d 3 h"),
    ],
)
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


def test_what_counts_as_an_image():
    config = load_config("mggr-edge")
    assert images_a_step("estimator", config.stage("estimator")) == 64
    assert images_a_step("joint", config.stage("joint")) == 16
    twice = load_config("mggr-edge", changes=["stages.joint.adversary={critic_steps: 5}"])
    assert images_a_step("joint", twice.stage("joint")) == 80
    alone = ["stages.joint.losses=[{name: l1, weight: 1.0}]"]
    without = load_config("mggr-edge", changes=["stages.joint.adversary.critic_steps=5", *alone])
    assert images_a_step("joint", without.stage("joint")) == 16
