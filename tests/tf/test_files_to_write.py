"""Options that name a file to write refuse the name of a folder before anything else is done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from mggr_tf.cli import main


@pytest.mark.parametrize("name", ["folder", "folder/", "missing/"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["bench-train", "--json"],
        ["evaluate", "run", "--data", "synthetic", "--json"],
        ["runs", "compare", "a", "b", "--out"],
        ["data", "synth", "--preview"],
        ["data", "split", "patches", "--out"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    ended = CliRunner().invoke(main, [*arguments, name])
    assert ended.exit_code == 2
    assert "names a folder" in ended.output
    assert os.listdir() == ["folder"]
