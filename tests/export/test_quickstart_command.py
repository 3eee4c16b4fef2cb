"""`mggr-tf quickstart`: what it refuses, how it ends, and what it says then."""

import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mggr_edge.errors import OutputExistsError, UsageError
from mggr_export.quickstart import RUN
from mggr_export.quickstart.cli import quickstart
from mggr_tf.config.files import load_config
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord, StageRecord
from refusals import refusal


def test_a_named_output_that_exists_is_refused(tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    for arguments, kind, code in (
        ([], OutputExistsError, "output-exists"),
        (["--force"], UsageError, "force-not-a-quickstart"),
    ):
        with refusal(kind, code, path=out):
            CliRunner().invoke(quickstart, ["--out", str(out), *arguments], catch_exceptions=False)
    assert (out / "letter.txt").read_text() == "dear"


def test_an_unnamed_output_is_numbered(tmp_path, monkeypatch):
    from mggr_export.quickstart import journey

    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    asked = []

    def run_quickstart(folder, **_):
        asked.append(folder.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(journey, "run_quickstart", run_quickstart)
    result = CliRunner().invoke(quickstart, [])
    assert result.exit_code == 130
    assert asked == ["quickstart-2"]
    assert result.output.rstrip().endswith("mggr-tf quickstart")


@pytest.mark.parametrize("complete", [False, True])
def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, complete):
    from mggr_export.quickstart import journey
    from mggr_tf.cli.train import train

    def run_quickstart(folder, **_):
        data = DataRecord("synthetic", ("00000",), (), 1, "Apache-2.0")
        run = RunFolder.create(folder / RUN, load_config("quickstart"), data)
        run.update_stage("joint", StageRecord(steps=5, done=5 * complete, complete=complete))
        raise KeyboardInterrupt

    monkeypatch.setattr(journey, "run_quickstart", run_quickstart)
    result = CliRunner().invoke(quickstart, ["--out", str(tmp_path / "q")])
    assert result.exit_code == 130
    commands = [shlex.split(line) for line in result.output.splitlines() if "mggr-tf" in line]
    assert [command[1] for command in commands] == ["export"] if complete else ["train", "export"]
    if not complete:
        context = train.make_context("train", commands[0][2:])
        assert context.params["resume"]
        assert RunFolder.open(context.params["out"]).config.name == "quickstart"


@pytest.mark.parametrize("arguments", [["--minutes", "0"], ["--seed", "-1"], ["--minutes", "x"]])
def test_numbers_that_make_no_sense_are_usage_errors(arguments):
    assert CliRunner().invoke(quickstart, arguments).exit_code == 2


def test_the_command_loads_without_anything_heavy():
    code = (
        "import sys, mggr_export.quickstart.cli\n"
        "heavy = {'tensorflow', 'cv2', 'skimage', 'av', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
