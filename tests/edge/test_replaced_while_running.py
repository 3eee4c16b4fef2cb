"""A bundle that is replaced under a running `mggr-edge run`: a real process, a real stream."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import bundle_path
from streaming import Server, serving

pytest.importorskip("av")

PATIENCE_S = 60


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with serving() as start:
        yield start


def until(happened: Callable[[], bool], errors: Path) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < ends_s, errors.read_text()
        time.sleep(0.05)


@pytest.mark.extended
@pytest.mark.processes
def test_good_and_bad_bundles_come_while_it_runs(
    tmp_path: Path, serve: Callable[..., Server], bundle: Bundle
) -> None:
    place, lines, errors = tmp_path / "bundle", tmp_path / "lines.jsonl", tmp_path / "errors"
    shutil.copytree(bundle_path("default"), place)
    command = ["run", serve(0).url, "null://", "--model", str(place), "--metrics", str(lines)]
    with errors.open("w") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "mggr_edge", *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    try:

        def frames() -> int:
            return lines.read_bytes().count(b"\n") if lines.exists() else 0

        until(lambda: frames() > 20, errors)
        place.rename(tmp_path / "old")
        shutil.copytree(bundle_path("default-int8"), place)
        until(lambda: "new bundle is in use" in errors.read_text(), errors)
        before = frames()
        until(lambda: frames() > before + 20, errors)
        (place / "models" / "estimator.tflite").write_bytes(b"no model")
        (place / "contract.json").touch()
        until(lambda: "old bundle stays in use: " in errors.read_text(), errors)
        before = frames()
        until(lambda: frames() > before + 20, errors)
        running.send_signal(signal.SIGTERM)
        summary, _ = running.communicate(timeout=20)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 0, errors.read_text()
    seen = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["frame"] for line in seen] == list(range(len(seen)))
    assert all(line["failure"] is None for line in seen)
    assert summary.startswith(f"wrote nothing: {len(seen)} frames; ")
    (taken, refused) = (
        line for line in errors.read_text().splitlines() if line.startswith(f"{place} was replaced")
    )
    assert taken.endswith("new bundle is in use")
    assert "models/estimator.tflite" in refused
    assert "checksum" in refused
