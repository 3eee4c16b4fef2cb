"""AVI files with B-frames: first frame at the start, one tick after the other, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mggr_edge.media.files.video_reader import TimedFrame, open_video

av = pytest.importorskip("av")

from videos_with_audio import RATE, write_video  # noqa: E402


def flat(index: int) -> np.ndarray:
    return np.full((48, 64, 3), 10 * index, np.uint8)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("mpeg4", {}),
        ("mpeg4", {"bf": "2", "g": "12"}),
        ("libx264", {"bf": "2", "x264-params": "b-adapt=0:scenecut=0"}),
        ("libx264", {"bf": "3", "x264-params": "b-adapt=0:b-pyramid=normal:scenecut=0"}),
        ("mjpeg", {}),
    ],
)
@pytest.mark.parametrize("frames", [1, 2, 20, 21])
def test_frames_of_an_avi_file_come_one_after_the_other(
    tmp_path: Path, codec: str, options: dict[str, str], frames: int
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = write_video(
        tmp_path / "a.avi", frames=frames, codec=codec, pix_fmt=pix_fmt, options=options,
        picture=flat,
    )  # fmt: skip
    with open_video(source) as video:
        read = [item for item in video.items if isinstance(item, TimedFrame)]
    assert [frame.time_s for frame in read] == [index / RATE for index in range(frames)]
    assert [float(f.rgb.mean()) for f in read] == pytest.approx(range(0, 10 * frames, 10), abs=6)


@pytest.mark.extended
@pytest.mark.parametrize("options", [{"g": "12"}, {"bf": "2", "g": "12"}])
def test_dropped_frames_of_an_avi_file_leave_gaps(tmp_path: Path, options: dict[str, str]) -> None:
    """Capture programs write an empty packet for a frame that they missed."""
    whole = write_video(
        tmp_path / "whole.avi", frames=12, codec="mpeg4", options=options, picture=flat
    )
    with av.open(str(whole)) as source, av.open(str(tmp_path / "a.avi"), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts = packet.dts = packet.dts + (3 if packet.dts >= 6 else 0)
                packet.stream = copy
                target.mux(packet)
    with open_video(tmp_path / "a.avi") as video:
        times = [item.time_s for item in video.items if isinstance(item, TimedFrame)]
    assert len(times) == 12
    steps = np.round(np.diff(times) * RATE)
    assert sorted(steps) == [1] * 10 + [4]
