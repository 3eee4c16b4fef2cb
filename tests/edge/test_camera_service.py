"""A service with several cameras: real RTSP servers that die and return, and real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ports import free_port
from streaming import Server, serving

av = pytest.importorskip("av")
parser = pytest.importorskip("prometheus_client.parser")

pytestmark = [pytest.mark.extended, pytest.mark.processes]


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with serving() as start:
        yield start


class Service:
    """A service in its own process, with its log, its metrics and its health."""

    def __init__(self, folder: Path, config: str) -> None:
        self.port = free_port()
        self._file, self._log = folder / "service.toml", folder / "service.log"
        self.write(config)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mggr_edge", "service", "--config", self._file]
                + ["--log-format", "json"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stderr=log,
            )

    def write(self, config: str) -> None:
        self._file.write_text(f"prometheus = {self.port}\n{config}")

    def reload(self, config: str) -> None:
        self.write(config)
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as page:
                return json.load(page)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)
        except OSError:
            return {"ok": False, "cameras": {}}

    def figures(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
            families = parser.text_string_to_metric_families(page.read().decode())
            samples = [sample for family in families for sample in family.samples]
        return {"|".join([s.name, *s.labels.values()]): s.value for s in samples}

    def until(self, is_so: Callable[[], bool], *, within_s: float = 40) -> None:
        ends_s = time.monotonic() + within_s
        while not is_so():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < ends_s, self._log.read_text()
            time.sleep(0.1)

    def frames(self, camera: str) -> float:
        return self.figures().get(f"mggr_frames_total|{camera}", 0)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self._log.read_text()


@contextmanager
def running(folder: Path, config: str) -> Iterator[Service]:
    service = Service(folder, config)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()


def camera(name: str, url: str, output: str, more: str = "") -> str:
    return f'[[camera]]\nname = "{name}"\ninput = "{url}"\noutput = "{output}"\n{more}\n'


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_cameras_fail_and_return_alone_and_the_config_is_reloaded(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    one, two = serve(0), serve(0)
    door = camera("door", one.url, "door.mp4", "segment = 0.04")
    desk = camera("desk", two.url, "null://")
    with running(tmp_path, door + desk) as service:
        service.until(lambda: service.health()["ok"])

        # A server dies and returns on the same port. The other camera continues.
        one.kill()
        before = service.frames("desk")
        service.until(lambda: service.frames("desk") > before + 10)
        port = one.port
        serve(0, port=port)
        service.until(lambda: service.figures().get("mggr_reconnects_total|door", 0) == 1)
        before = service.frames("door")
        service.until(lambda: service.frames("door") > before + 10)

        # A wrong config changes nothing.
        service.reload(door + desk.replace("null://", "desk.mp4"))
        service.until(lambda: any(one["level"] == "error" for one in service.log()))
        before = service.frames("desk")
        service.until(lambda: service.frames("desk") > before + 5)

        # A camera that changed starts again, one that did not change continues, and one is new.
        attic = camera("attic", two.url, "attic.mp4", "segment = 1")
        before, door_before = service.frames("desk"), service.frames("door")
        changed = camera("door", f"rtsp://127.0.0.1:{port}/bars", "null://", "mark = true")
        service.reload(changed + desk + attic)
        service.until(lambda: service.frames("door") < door_before)
        service.until(lambda: service.frames("attic") > 5)
        assert service.frames("desk") > before
        assert set(service.health()["cameras"]) == {"door", "desk", "attic"}
        service.end()

    said = service.log()
    assert {one.get("camera") for one in said} >= {None, "door", "attic"}
    segments = sorted(tmp_path.glob("door-*.mp4"))
    assert len(segments) >= 2
    assert all(frames_of(path) > 0 for path in segments)
    assert frames_of(tmp_path / "attic-0001.mp4") > 5
    assert not list(tmp_path.glob(".*")), "nothing is left half-written"


def test_a_run_that_fails_starts_again_and_the_others_continue(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    server = serve(0)
    door = camera("door", server.url, "there/door.mp4", "segment = 0.02")
    desk = camera("desk", server.url, "null://")
    with running(tmp_path, door + desk) as service:
        service.until(lambda: service.health()["ok"])
        folder.rename(tmp_path / "away")  # the next segment cannot be written
        service.until(lambda: any(one["level"] == "error" for one in service.log()))
        before = service.frames("desk")
        service.until(lambda: service.frames("desk") > before + 5)
        assert service.health()["cameras"]["desk"]["ok"]
        folder.mkdir()
        service.until(lambda: bool(list(folder.glob("door-*.mp4"))))
        service.end()
    assert all(frames_of(path) > 0 for path in folder.glob("door-*.mp4"))


def test_an_absent_or_stalled_camera_does_not_delay_the_others(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(0)
    door = camera("door", f"rtsp://127.0.0.1:{free_port()}/bars", "null://")
    desk = camera("desk", server.url, "desk.mp4", "segment = 60")
    with running(tmp_path, door + desk) as service:
        service.until(lambda: service.health()["cameras"].get("desk", {}).get("ok", False))
        health = service.health()
        assert (health["ok"], health["cameras"]["door"]["ok"]) == (False, False)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        service.end()
        server.process.send_signal(signal.SIGCONT)
    assert frames_of(tmp_path / "desk-0001.mp4") > 0
