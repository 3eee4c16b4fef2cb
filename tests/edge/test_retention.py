"""Deletion of old files of a segmented recording, health of a run, and messages as JSON."""

import json
import os
import urllib.error
import urllib.request
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.common.timing import StageClock
from mggr_edge.errors import UsageError
from mggr_edge.media.files.colour import colour_of_rgb
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.live.recordings import Segments
from mggr_edge.media.live.retention import Retention
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.service.metrics import LiveCounts, open_endpoint
from ports import free_port
from refusals import refusal

NOW = 1_000_000.0


def files_of(folder, sizes, *, hours_apart=1.0):
    """Files whose newest ended just now."""
    made = []
    for number, size in enumerate(sizes):
        path = folder / f"day-{number + 1:04}.mp4"
        path.write_bytes(b"x" * size)
        ended_s = NOW - 3600 * hours_apart * (len(sizes) - 1 - number)
        os.utime(path, (ended_s, ended_s))
        made.append(path)
    return made


def test_old_files_are_deleted_and_the_newest_is_kept(tmp_path):
    files = files_of(tmp_path, [10] * 5)
    deleted = Retention(max_age_s=2.5 * 3600, clock=lambda: NOW).apply(files)
    assert deleted == files[:2]
    assert [path.exists() for path in files] == [False, False, True, True, True]
    assert Retention(max_age_s=1, clock=lambda: NOW + 9e9).apply(files) == files[2:4]
    assert files[4].exists()


def test_files_are_deleted_until_the_rest_is_small_enough(tmp_path):
    files = files_of(tmp_path, [50, 40, 30, 20])
    assert Retention(max_bytes=90).apply(files) == files[:1]
    assert Retention(max_bytes=90).apply(files) == []
    assert Retention(max_bytes=1).apply(files) == files[1:3]


def test_without_limits_and_for_missing_files_nothing_happens(tmp_path):
    files = files_of(tmp_path, [10, 10])
    assert Retention().apply(files) == []
    files[0].unlink()
    assert Retention(max_bytes=1).apply(files) == []


def test_a_recording_deletes_its_old_files_and_no_others(tmp_path):
    (other := tmp_path / "other-0001.mp4").write_bytes(b"x" * 10_000)
    earlier = tmp_path / "day-0001.mp4"
    earlier.write_bytes(b"x" * 10_000)
    os.utime(earlier, (NOW, NOW))
    layout = VideoLayout(
        size=(48, 64),
        time_base=Fraction(1, 90_000),
        rate=Fraction(30),
        pixel_aspect=None,
        colour=colour_of_rgb(48),
        audio=(),
        metadata={},
        left_out=(),
        frames=None,
    )
    segments = Segments(tmp_path / "day.mp4", 1.0, retention=Retention(max_bytes=8_000))
    with segments.opened(layout) as writer:
        for number in range(65):
            rgb = np.full((48, 64, 3), 2 * number, np.uint8)
            writer.write(rgb, TimedFrame(rgb, 3000 * number, None, number / 30))
    assert not earlier.exists()
    assert other.exists()
    left = sorted(path.name for path in tmp_path.glob("day-*.mp4"))
    assert left[-1] == "day-0004.mp4"
    assert sum((tmp_path / name).stat().st_size for name in left) <= 8_000 or len(left) == 1


def test_limits_need_segments():
    with refusal(UsageError, "keep-without-segment", keep_gb=1.0):
        RunOptions(keep_gb=1.0)
    options = RunOptions(segment_minutes=10.0, keep_hours=2.0, keep_gb=1.5)
    assert (options.retention.max_age_s, options.retention.max_bytes) == (7200.0, 1.5e9)


def asked(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_health_is_good_only_while_frames_are_written(monkeypatch):
    pytest.importorskip("prometheus_client")
    from mggr_edge.runs.service import metrics

    counts, port = LiveCounts(), free_port()

    def process(frame, /, *, time_s=None):
        return FrameResult(frame, ())

    with (
        open_endpoint(port) as server,
        server.watch(process, counts=counts, clock=StageClock(), level=lambda: 0),
    ):
        assert asked(port) == (
            503,
            {
                "ok": False,
                "seconds_since_frame": None,
                "frame_age_s": None,
                "frames_dropped": 0,
                "reconnects": 0,
            },
        )
        counts.note_written(arrived_s=metrics.time.monotonic() - 0.25)
        status, health = asked(port)
        assert (status, health["ok"]) == (200, True)
        assert health["frame_age_s"] == pytest.approx(0.25, abs=0.05)
        counts.written_s -= metrics.HEALTHY_S + 1
        assert asked(port)[0] == 503
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
        with page:
            text = page.read().decode()
    assert "mggr_frame_age_seconds 0.25" in text
    assert "mggr_frame_age_max_seconds" in text


def test_messages_can_be_json():
    result = CliRunner().invoke(
        main, ["run", "rtsp://cam/live", "a.mp4", "--log-format", "json", "--keep-gb", "1"]
    )
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    message = json.loads(line)
    assert message["level"] == "error"
    assert set(message) == {"time", "level", "message"}
    result = CliRunner().invoke(main, ["run", "rtsp://cam/live", "a.mp4", "--keep-gb", "1"])
    assert result.stderr.startswith("error: ")
