"""Memory that opening again and again takes: none."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mggr_edge.live.address import LiveAddress
from mggr_edge.live.rtsp import RtspCapture
from mggr_edge.reporting import memory
from mggr_edge.reporting.memory import resident_mb
from mggr_edge.streams.video_reader import open_video

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


def read_a_file(path: Path) -> None:
    with open_video(path) as video:
        assert len(list(islice(video.items, 3))) == 3


def read_a_stream(path: Path) -> None:
    capture = RtspCapture(LiveAddress("rtsp", str(path)))
    assert capture.read() is not None
    capture.close()


@pytest.mark.skipif(resident_mb() is None, reason="this system does not tell")
@pytest.mark.parametrize("read", [read_a_file, read_a_stream])
def test_what_is_opened_again_and_again_does_not_grow(clip: Path, read) -> None:
    held = []
    for _ in range(OPENINGS):
        read(clip)
        held.append(resident_mb())
    assert held[-1] - held[SETTLED_AFTER] < LIMIT_MB


def test_a_system_that_tells_of_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert memory.resident_mb() is None
    (tmp_path / "status").write_text("Name:\tpython\n")
    assert memory.resident_mb() is None
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t    2048 kB\n")
    assert memory.resident_mb() == 2.0
