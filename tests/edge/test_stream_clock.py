"""Times of live frames: by the source's clock as long as that can be followed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import CameraFormat, LiveAddress
from mggr_edge.media.live.cameras import CameraCapture
from mggr_edge.media.live.file_playback import VideoFileCapture, shown_file
from mggr_edge.media.live.latest_frame import LatestFrameReader, StreamClock
from mggr_edge.media.live.rtsp_client import RtspCapture
from mggr_edge.media.live.sources import Reconnecting, stream_time_s
from mggr_edge.tools.studio.session import _RecordedSource

FRAME = np.zeros((4, 4, 3), np.uint8)


def times(frames: list[tuple[float | None, float]]) -> NDArray[np.float64]:
    """Times of (stream_s, arrived_s) frames."""
    clock = StreamClock()
    return np.array([clock.time_s(stream, arrived_s=arrived) for stream, arrived in frames])


def test_frames_that_arrive_in_pairs_have_the_streams_steps() -> None:
    frames = [(1000 + n / 30, 50 + (n - n % 2 + 1) / 30 + 1e-4 * (n % 2)) for n in range(60)]
    np.testing.assert_allclose(times(frames), np.arange(60) / 30, atol=1e-9)


def test_frames_that_arrive_late_and_in_a_burst_have_the_streams_steps() -> None:
    frames = [(n / 25, max(n / 25, 2.0 if 20 <= n < 50 else 0) + 1e-5 * n) for n in range(100)]
    np.testing.assert_allclose(times(frames), np.arange(100) / 25, atol=1e-9)


def test_what_a_server_had_stored_before_the_connection_has_the_streams_steps() -> None:
    """Eight seconds at once, then live."""
    frames = [(n / 25, max(n / 25 - 8, 0) + 1e-5 * n) for n in range(1000)]
    np.testing.assert_allclose(times(frames), np.arange(1000) / 25, atol=0.02)


def test_without_a_clock_times_are_those_of_arrival() -> None:
    arrivals = [7.0, 7.03, 7.08, 7.1]
    np.testing.assert_allclose(times([(None, a) for a in arrivals]), np.subtract(arrivals, 7.0))


@pytest.mark.parametrize("missing", [{3}, {5, 6, 7}, set(range(10, 20))])
@pytest.mark.parametrize("kind", ["none", "repeated", "nan"])
def test_a_missing_or_repeated_time_is_that_of_arrival(missing: set[int], kind: str) -> None:
    frames = []
    for n in range(40):
        stamp: float | None = 9 + n / 30
        if n in missing:
            first = min(missing)
            stamp = {"none": None, "repeated": 9 + (first - 1) / 30, "nan": float("nan")}[kind]
        frames.append((stamp, n / 30 + 0.002 * (n % 3)))
    np.testing.assert_allclose(times(frames), np.arange(40) / 30, atol=0.006)


@pytest.mark.parametrize("restart", [0.0, 0.2, 5000.0, -40.0])
@pytest.mark.parametrize("away_s", [0.0, 2.0, 700.0])
def test_a_clock_that_restarts_or_jumps_goes_on_by_arrival(restart: float, away_s: float) -> None:
    """As when a connection is lost and comes back."""
    before = [(100 + n / 30, n / 30) for n in range(30)]
    after = [(restart + n / 30, 1 + away_s + n / 30) for n in range(30)]
    steps = np.diff(times(before + after))
    np.testing.assert_allclose(np.delete(steps, 29), 1 / 30, atol=1e-6)
    assert steps[29] == pytest.approx(1 / 30 + away_s, abs=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 2.0, 10.0, 1000.0])
def test_a_clock_of_another_rate_is_not_followed(rate: float) -> None:
    found = times([(3 + rate * n / 30, n / 30) for n in range(1800)])
    steps = np.diff(found)
    assert (steps > 0).all()
    # Within ten seconds it is found out; from then on times are those of arrival.
    np.testing.assert_allclose(steps[600:], 1 / 30, atol=1e-6)


@pytest.mark.parametrize("drift", [-1e-3, 1e-3])
def test_a_clock_that_drifts_is_followed_without_a_jump(drift: float) -> None:
    count = 2 * 3600 * 3  # three hours, in which clocks drift apart by eleven seconds
    clock = StreamClock()
    found = np.array([clock.time_s(n / 2 * (1 + drift), arrived_s=n / 2) for n in range(count)])
    np.testing.assert_allclose(np.diff(found), (1 + drift) / 2, atol=1e-6)


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(-1e6, 1e6), st.floats(0, 1)), st.floats(0, 20)),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_the_source_says_times_go_up_and_stay_near_arrival(
    given_frames: list[tuple[float | None, float]],
) -> None:
    arrivals = np.cumsum([step for _, step in given_frames])
    pairs = zip(given_frames, arrivals, strict=True)
    found = times([(stream, float(at)) for (stream, _), at in pairs])
    assert found[0] == 0
    assert (np.diff(found) >= 0.0009).all()
    assert np.isfinite(found).all()


@dataclass
class Clocked:
    """A source whose frames carry times; `None` in the script loses it."""

    script: list[float | None]
    stream_time_s: float | None = None
    closed: bool = field(default=False)

    def read(self) -> NDArray[np.uint8] | None:
        if not self.script:
            return None
        self.stream_time_s = self.script.pop(0)
        if self.stream_time_s is None:
            raise StreamError("lost")
        return FRAME

    def close(self) -> None:
        self.closed = True


def test_the_newest_frame_has_the_time_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float] = []
    real = StreamClock.time_s

    def noted(clock: StreamClock, stream_s: float | None, *, arrived_s: float) -> float:
        found.append(real(clock, stream_s, arrived_s=arrived_s))
        return found[-1]

    monkeypatch.setattr(StreamClock, "time_s", noted)
    source = _RecordedSource(Clocked([5 + n / 25 for n in range(10)]), lambda: None)
    with LatestFrameReader(source, stop=threading.Event()) as newest:
        last = list(newest)[-1]
    # All arrive at once.
    np.testing.assert_allclose(found, np.arange(10) / 25, atol=1e-9)
    assert last.time_s == found[-1]


def test_a_source_that_comes_back_hands_on_its_new_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mggr_edge.media.live.sources._FIRST_WAIT_S", 0.001)
    sources = [Clocked([7.0, 7.04, None]), Clocked([0.0, 0.04])]
    source = Reconnecting(
        lambda: sources.pop(0),
        name="door",
        stop=threading.Event(),
        notify=lambda text: None,
        beat=lambda: None,
    )
    assert stream_time_s(source) is None
    seen = []
    for _ in range(4):
        source.read()
        seen.append(stream_time_s(source))
    source.close()
    assert seen == [7.0, 7.04, 0.0, 0.04]


def make_clip(path: Path, pts: list[int]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for tick in pts:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_film_gives_the_times_of_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "a.mkv", [0, 40, 90, 100, 180])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    film = VideoFileCapture(shown_file(str(tmp_path / "a.mkv")))
    found = []
    while film.read() is not None:
        found.append(stream_time_s(film))
    film.close()
    assert found == pytest.approx([0.0, 0.04, 0.09, 0.1, 0.18], abs=1e-3)


def test_a_camera_gives_its_drivers_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the camera's place; its first time is 0, which a driver says that has none."""
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(4):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    monkeypatch.setattr(cv2, "CAP_V4L2", cv2.CAP_ANY)
    camera = CameraCapture(LiveAddress("v4l2", str(tmp_path / "a.avi")), CameraFormat())
    found = []
    for _ in range(4):
        camera.read()
        found.append(stream_time_s(camera))
    camera.close()
    assert found[0] is None
    assert found[1:] == pytest.approx([0.04, 0.08, 0.12], abs=1e-3)


def test_a_stream_gives_the_times_of_its_frames(tmp_path: Path) -> None:
    """A file in the stream's place, whose first frames are spent on finding out what it is."""
    pts = [40 * n + 7 * (n % 3) for n in range(120)]
    make_clip(tmp_path / "a.ts", pts)
    capture = RtspCapture(LiveAddress("rtsp", str(tmp_path / "a.ts")))
    found = []
    while capture.read() is not None:
        found.append(stream_time_s(capture))
    capture.close()
    assert len(found) > 40
    expected = np.diff(pts[-len(found) :]) / 1000
    np.testing.assert_allclose(np.diff(np.array(found, float)), expected, atol=1e-3)
