"""Two trainings that name no run folder, at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from mggr_edge.errors import OutputExistsError
from mggr_tf.cli import train_session as new_run
from mggr_tf.cli.train_session import NewRun
from mggr_tf.config.files import load_config


def test_trainings_that_name_no_folder_get_different_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config("mggr-edge")
    out = Path("runs") / config.name
    plan = NewRun(config, out, None, None, replaces=False, is_named=False)
    made = [new_run._make(plan) for _ in range(2)]
    assert made == [out, out.with_name(f"{config.name}-2")]
    with pytest.raises(OutputExistsError):
        new_run._make(NewRun(config, out, None, None, replaces=False))
