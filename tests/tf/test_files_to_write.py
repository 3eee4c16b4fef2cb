"""Options that name a file to write refuse the name of a folder before anything else is done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from mggr_tf.cli import main
from refusals import error_of


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
    error_of(ended, "option-names-folder", option=arguments[-1], path=name)
    assert os.listdir() == ["folder"]
