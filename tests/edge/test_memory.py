"""Memory that opening again and again takes: none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mggr_edge.common import process as memory
from mggr_edge.common.process import resident_mb

av = pytest.importorskip("av")

OPENINGS, SETTLED_AFTER = 40, 15
LIMIT_MB = 12
"""A picture of 720p is 1.4 MB and stayed behind at every opening once: 35 MB more."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "a.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for level in range(8):
            picture = np.full((720, 1280, 3), 20 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


MEASURE = """
import sys
from itertools import islice

from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.rtsp_client import RtspCapture
from mggr_edge.common.process import resident_mb
from mggr_edge.media.files.video_reader import open_video

def read_as_file(path):
    with open_video(path) as video:
        assert len(list(islice(video.items, 3))) == 3

def read_as_stream(path):
    capture = RtspCapture(LiveAddress("rtsp", str(path)))
    assert capture.read() is not None
    capture.close()

read = {"file": read_as_file, "stream": read_as_stream}[sys.argv[1]]
for _ in range(int(sys.argv[3])):
    read(sys.argv[2])
    print(resident_mb())
"""


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.skipif(resident_mb() is None, reason="this system does not report memory")
@pytest.mark.parametrize("opened_as", ["file", "stream"])
def test_opening_a_video_again_does_not_keep_memory(clip: Path, opened_as: str) -> None:
    """In a new process: what earlier tests left in this one grows at its own pace."""
    arguments = [sys.executable, "-c", MEASURE, opened_as, str(clip), str(OPENINGS)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    held = [float(line) for line in run.stdout.split()]
    assert len(held) == OPENINGS
    assert held[-1] - held[SETTLED_AFTER] < LIMIT_MB


def test_a_system_that_tells_of_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert memory.resident_mb() is None
    (tmp_path / "status").write_text("Name:\tpython\n")
    assert memory.resident_mb() is None
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t    2000 kB\n")
    assert memory.resident_mb() == pytest.approx(2.048)
