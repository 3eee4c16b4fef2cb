"""`mggr-edge studio`: how it begins, how it ends, and what it says of mistakes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.errors import MggrError
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs.options import SourceOptions
from mggr_edge.tools.studio.server import run_studio
from ramps import smooth_picture
from refusals import error_of
from studio_page import answer, frame, soon

pytest.importorskip("bottle")


def answers(port: int | None) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "me.png"), smooth_picture(48, 60))
    return tmp_path / "me.png"


def test_mistakes_are_one_line(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, code: str, **fields: object) -> None:
        result = CliRunner().invoke(main, ["studio", *map(str, arguments)])
        error_of(result, code, **fields)
        assert result.stderr.count("\n") == 1

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(photo, "--port", port, code="port-in-use", port=port)
    refused("gone.mp4", code="input-missing", path="gone.mp4")
    refused(*(photo, "--profile", "me.json", "--port", 0), code="profile-missing", path="me.json")
    refused(photo, "--input-width", 640, code="camera-options-for-file", path=photo)
    monkeypatch.setitem(sys.modules, "bottle", None)
    command = "pip install 'mggr-tf[studio]'"
    refused(photo, code="missing-package", package="bottle", command=command)


def test_help_has_examples_and_signals_are_as_before(photo: Path) -> None:
    assert "Examples:\n    mggr-edge studio\n" in CliRunner().invoke(main, ["studio", "-h"]).output
    before = signal.getsignal(signal.SIGTERM)
    missing = SourceOptions(str(photo.with_name("no-bundle")))
    with pytest.raises(MggrError, match="no-bundle"):
        run_studio(str(photo), missing, port=0, notify=print)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_a_second(
    photo: Path, bundle: Bundle, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "mggr_edge", "studio", str(photo), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            url = next(line for line in process.stderr if line.startswith("open ")).split()[1]
            facts, before, _ = frame(url)
            token = url.partition("?token=")[2]
            assert len(token) >= 40
            for path in (f"/?token={token}", f"/nothing?token={token}", "/frame?after=x"):
                answer(url, path)
            answer(url, f"/settings?token={token}", method="POST", body=b"{")
            assert facts["source"]["name"] == "me.png"
            assert before.shape == (48, 60, 3)
            told_s = time.monotonic()
            process.send_signal(number)
            soon(lambda: not answers(urlsplit(url).port))
            assert time.monotonic() - told_s < 1.0
            assert process.wait(10) == 0
            rest = process.stderr.read()
            assert "Traceback" not in rest
            assert token not in rest
        finally:
            process.kill()


@pytest.mark.processes
def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, contextlib\n"
        "from mggr_edge.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['studio', '--help'])\n"
        "print([m for m in ('numpy', 'cv2', 'bottle', 'wsgiref') if m in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
