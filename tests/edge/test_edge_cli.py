"""`mggr-edge`: what it prints, how it ends, and what it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.common import __version__
from mggr_edge.common.cli_group import MggrGroup
from mggr_edge.errors import StreamError
from mggr_edge.media.files.pictures import Picture, read_picture, write_picture
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs import redirect as redirecting
from mggr_edge.tools import doctor
from refusals import error_of


def invoke(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def inverting(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A redirector that inverts; the list collects the targets that it was made with."""
    targets = []

    class Inverting:
        def __init__(self, bundle: object, **options: object) -> None:
            self.target: object = None

        def process(self, frame, *, time_s=None):
            targets.append(self.target)
            eye = SimpleNamespace(strength=1.0, reason=None)
            return SimpleNamespace(frame=255 - frame, faces=(SimpleNamespace(eyes=(eye, eye)),))

    monkeypatch.setattr(redirecting, "Redirector", Inverting)
    monkeypatch.setattr(Bundle, "open", lambda path: SimpleNamespace())
    return targets


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_picture(tmp_path / "me.png", Picture(np.full((8, 8, 3), 30, np.uint8)))
    return tmp_path / "me.png"


@pytest.mark.parametrize("command", [[], ["run"], ["doctor"]])
def test_help_has_examples(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Examples:\n    mggr-edge " in result.output


def test_version() -> None:
    assert invoke("--version").output == f"mggr-edge, version {__version__}\n"


@pytest.mark.processes
def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, contextlib\n"
        "from mggr_edge.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['run', '--help'])\n"
        "print([m for m in ('numpy', 'cv2', 'av', 'ai_edge_litert') if m in sys.modules])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.splitlines()[-1] == "[]"


def test_run_says_what_it_wrote(inverting: list[object], photo: Path) -> None:
    result = invoke("run", photo, "--model", "bundle", "--target", "-5,10")
    assert result.exit_code == 0
    output = photo.with_name("me-redirected.png")
    expected = f"wrote {output}: 1 picture; faces in 1 picture; 2 eyes redirected\n"
    assert result.stdout == expected
    assert result.stderr == ""
    assert (read_picture(output).rgb == 225).all()
    (target,) = inverting
    assert (target.pitch_deg, target.yaw_deg) == (-5, 10)


def test_a_target_behind_an_equals_sign(inverting: list[object], photo: Path) -> None:
    assert invoke("run", photo, "--model", "b", "--target=-5,10").exit_code == 0
    assert invoke("run", photo, "--model", "b").exit_code == 0
    assert [(t.pitch_deg, t.yaw_deg) for t in inverting] == [(-5, 10), (0, 0)]


def test_single_failures_are_listed_and_end_with_two(inverting: list[object], photo: Path) -> None:
    (photo.parent / "bad.jpg").write_bytes(b"\xff\xd8")
    output = photo.parent.with_name(photo.parent.name + "-out")
    result = invoke("run", photo.parent, output, "--model", "bundle")
    assert result.exit_code == 2
    assert "1 picture failed" in result.stdout
    assert result.stderr.startswith("error: ")
    assert "bad.jpg" in result.stderr
    assert [p.name for p in output.iterdir()] == ["me.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "fields"),
    [
        ("nothing.jpg --model b", "input-missing", {"path": "nothing.jpg"}),
        ("csi://x --model b", "input-not-valid", {"address": "csi://x"}),
        ("me.png --input-width 640", "camera-options-for-file", {"path": "me.png"}),
        ("me.png --reconnect", "reconnect-for-file", {"path": "me.png"}),
        ("me.png --prometheus 9105", "prometheus-for-file", {"path": "me.png"}),
        ("rtsp://host/a --model b", "live-output-missing", {}),
        ("rtsp://host/a a.jpg --model b", "live-output-not-valid", {"address": "a.jpg"}),
        ("me.png me.png --model b --force", "output-is-input", {"path": "me.png"}),
        ("me.png other.png --model b", "output-exists", {"path": "other.png"}),
        ("me.png x.mp4 --model b", "output-suffix-unsupported", {"suffix": ".mp4"}),
        ("me.png --model b --target up", "target-not-an-angle-pair", {"target": "up"}),
        ("empty --model b", "folder-without-media", {"path": "empty", "ignored": 0}),
        ("me.png --follow gone.csv", "targets-not-readable", {"path": "gone.csv"}),
        ("me.png --follow a.csv --look-away", "follow-with-target", {"follow": "a.csv"}),
        ("me.png --follow a.csv --target 1,2", "follow-with-target", {"follow": "a.csv"}),
        ("me.png o.png --metrics me.png --force", "metrics-file-in-use", {"path": "me.png"}),
        ("me.png o.png --metrics o.png", "metrics-file-in-use", {"path": "o.png"}),
        ("me.png --estimate-only --strength 0.5", "estimate-only-with-changes", {}),
        ("me.png --estimate-only --target 5,5", "estimate-only-with-changes", {}),
        ("me.png --estimate-only --mark", "estimate-only-with-changes", {}),
        ("nothing.png --metrics new.jsonl", "input-missing", {"path": "nothing.png"}),
        ("me.png --estimate-only --compare", "estimate-only-with-changes", {}),
        ("me.png --metrics other.png", "output-exists", {"path": "other.png"}),
        ("me.png --metrics no/such.jsonl", "metrics-folder-missing", {"path": "no/such.jsonl"}),
    ],
)
def test_mistakes_are_one_line_and_exit_two(
    inverting: list[object],
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    code: str,
    fields: dict[str, object],
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("other.png").write_bytes(b"theirs")
    Path("empty").mkdir()
    result = invoke("run", *arguments.split())
    error_of(result, code, **fields)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert sorted(p.name for p in Path().iterdir()) == ["empty", "me.png", "other.png"]
    assert Path("other.png").read_bytes() == b"theirs"


def test_a_missing_bundle_is_one_line(photo: Path) -> None:
    result = invoke("run", photo, "--model", photo.parent / "no-bundle")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no-bundle" in result.stderr


@pytest.mark.parametrize("arguments", [["run"], ["run", "a.png"], ["no-such-command"]])
def test_clicks_own_usage_errors_exit_two(arguments: list[str]) -> None:
    assert invoke(*arguments).exit_code == 2


@pytest.mark.parametrize("state", ["ok", "missing"])
def test_doctor_exits_by_what_is_needed(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    checks = (
        doctor.Check("numpy", state, "something", fix="pip install numpy", needed=True),
        doctor.Check("cameras", "missing", "none"),
    )
    monkeypatch.setattr(doctor, "run_checks", lambda: checks)
    result = invoke("doctor", "--json")
    assert result.exit_code == (0 if state == "ok" else 1)
    assert json.loads(result.stdout)[0] == {
        "name": "numpy",
        "state": state,
        "found": "something",
        "fix": "pip install numpy",
        "needed": True,
    }
    assert "-> pip install numpy" in invoke("doctor").stdout


def group_that_raises(error: Exception) -> click.Group:
    @click.group(cls=MggrGroup)
    def group() -> None:
        pass

    @group.command()
    def command() -> None:
        raise error

    return group


def test_an_error_of_several_lines_becomes_one() -> None:
    result = CliRunner().invoke(group_that_raises(StreamError("first\n  second")), ["command"])
    assert (result.exit_code, result.stderr) == (2, "error: first second\n")


def test_a_bare_install_is_told_what_to_install() -> None:
    error = ModuleNotFoundError("No module named 'cv2'", name="cv2")
    result = CliRunner().invoke(group_that_raises(error), ["command"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: OpenCV is not installed; run: pip install ")


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("ours"), ModuleNotFoundError("x", name="mggr_edge.gone")]
)
def test_faults_of_ours_keep_their_traceback(error: Exception) -> None:
    result = CliRunner().invoke(group_that_raises(error), ["command"])
    assert result.exception is error
    assert result.exit_code == 1


def test_a_followed_target_of_a_picture_is_that_of_time_zero(
    inverting: list[object], photo: Path
) -> None:
    table = photo.with_name("targets.csv")
    table.write_text("time_s,pitch_deg,yaw_deg\n0,1,-2\n1,5,5\n")
    assert invoke("run", photo, "--model", "b", "--follow", table).exit_code == 0
    assert [(t.pitch_deg, t.yaw_deg) for t in inverting] == [(1, -2)]


def test_stats_are_told_beside_the_result(inverting: list[object], photo: Path) -> None:
    result = invoke("run", photo, "--model", "b", "--stats")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    stages = [line.split()[0] for line in result.stderr.splitlines()]
    assert stages == ["stage", "read", "write"]


def test_what_changes_nothing_writes_nothing_unless_it_is_named(
    inverting: list[object], photo: Path
) -> None:
    result = invoke("run", photo, "--model", "b", "--estimate-only")
    assert result.stdout.startswith("wrote nothing: 1 picture")
    assert [path.name for path in photo.parent.iterdir()] == ["me.png"]
    named = photo.with_name("seen.png")
    assert invoke("run", photo, named, "--model", "b", "--estimate-only").exit_code == 0
    assert named.exists()


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_numbers_of_options_are_finite(number: str) -> None:
    """NaN lies in no range, and yet in all: every comparison with it is false."""
    asked = 0
    for command in main.commands.values():
        for option in command.params:
            if not isinstance(option.type, click.types.FloatParamType):
                continue
            asked += 1
            with pytest.raises(click.BadParameter):
                option.type.convert(number, option, None)
    assert asked >= 5
