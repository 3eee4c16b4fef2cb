"""Commands that are printed for the user can be pasted into a shell, whatever a path holds."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

from mggr_edge.errors import DataError, RunError
from mggr_tf.data.listing import samples_of
from mggr_tf.evaluation.trained import load_redirector
from mggr_tf.runs.lock import resume_command
from refusals import refusal

FOLDER = "my run's; rm x"


def test_going_on_with_a_run() -> None:
    words = shlex.split(resume_command(SimpleNamespace(path=Path(FOLDER)), "joint"))  # type: ignore[arg-type]
    assert words[words.index("--out") + 1] == FOLDER


def test_training_a_run_to_its_end() -> None:
    run = SimpleNamespace(
        path=Path(FOLDER),
        can_redirect=lambda: False,
        config=SimpleNamespace(last_stage=lambda portraits: "joint"),
    )
    with refusal(RunError, "no-redirector", path=FOLDER, stage="joint") as caught:
        load_redirector(run)  # type: ignore[arg-type]
    words = shlex.split(str(caught.value).split("run: ")[1])
    assert words[words.index("--out") + 1] == FOLDER


def test_looking_a_source_over() -> None:
    scanned = SimpleNamespace(bad=(), labels=())
    with refusal(DataError, "no-usable-patch", path=FOLDER, count=0) as caught:
        samples_of(scanned, source=Path(FOLDER))  # type: ignore[arg-type]
    words = shlex.split(str(caught.value).split("`")[1])
    assert words == ["mggr-tf", "data", "check", FOLDER]
