"""Times of joined recordings, of first frames without any, and of containers that start late."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from mggr_edge.cli import main
from mggr_edge.errors import StreamError
from mggr_edge.media.files.video_reader import AudioPacket, TimedFrame, open_video
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run
from refusals import refusal

av = pytest.importorskip("av")

RATE = 25
TS_PACKET = 188
VIDEO_PID = 256


def make(
    path: Path,
    *,
    frames: int,
    offset_s: float = 0.0,
    audio: bool = True,
    bframes: int = 0,
) -> None:
    """A video whose grey level counts up by two a frame, with silence as long as the picture."""
    is_program = path.suffix == ".mpg"
    options = {"output_ts_offset": str(offset_s)} if offset_s else {}
    with av.open(str(path), "w", options=options) as container:
        codec, how = ("mpeg2video", {}) if is_program else ("libx264", {"bf": str(bframes)})
        stream = container.add_stream(codec, rate=RATE, options=how)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("mp2", rate=48000) if audio else None
        if sound is not None:
            sound.layout = "mono"
        samples = 0
        for number in range(frames):
            level = np.full((48, 64, 3), 20 + 2 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(level, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
            while sound is not None and samples / 48000 < (number + 1) / RATE:
                samples = add_sound(container, sound, samples)
        container.mux(stream.encode())
        if sound is not None:
            container.mux(sound.encode())


def add_sound(container, sound, samples: int) -> int:
    """Adds one packet of silence after so many samples; returns how many there are then."""
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, samples, Fraction(1, 48000)
    container.mux(sound.encode(frame))
    return samples + 1152


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def without_times(path: Path, count: int) -> None:
    """Takes the times off the first video packets of a transport stream."""
    content = bytearray(path.read_bytes())
    done = 0
    for at in range(0, len(content), TS_PACKET):
        pid = (content[at + 1] & 0x1F) << 8 | content[at + 2]
        if pid != VIDEO_PID or not content[at + 1] & 0x40 or done == count:
            continue
        pes = at + 4 + (1 + content[at + 4] if content[at + 3] & 0x20 else 0)
        assert content[pes : pes + 3] == b"\0\0\1"
        content[pes + 7] &= 0x3F  # no PTS, no DTS
        header = slice(pes + 9, pes + 9 + content[pes + 8])
        content[header] = b"\xff" * content[pes + 8]  # stuffing
        done += 1
    path.write_bytes(bytes(content))


def times_of(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of all frames, and of all sound packets with times."""
    with open_video(path) as video:
        items = list(video.items)
    frames = [item.time_s for item in items if isinstance(item, TimedFrame)]
    packets = [item.packet for item in items if isinstance(item, AudioPacket)]
    return np.array(frames), np.array([float(p.pts * p.time_base) for p in packets])


@pytest.mark.extended
@pytest.mark.parametrize("audio", [True, False])
@pytest.mark.parametrize("offset_s", [0.0, 0.3, 5000.0])
@pytest.mark.parametrize("bframes", [0, 2])
def test_a_joined_recording_goes_on_where_the_one_before_ends(
    tmp_path: Path, audio: bool, offset_s: float, bframes: int
) -> None:
    make(tmp_path / "a.ts", frames=40, offset_s=1.4, audio=audio)
    make(tmp_path / "b.ts", frames=30, offset_s=offset_s, audio=audio, bframes=bframes)
    frames, sound = times_of(joined(tmp_path / "c.ts", tmp_path / "a.ts", tmp_path / "b.ts"))
    steps = np.diff(frames)
    assert len(frames) == 70
    np.testing.assert_allclose(np.delete(steps, 39), 1 / RATE, atol=1e-4)
    # Sound may be longer than the picture by a packet and what the encoder adds.
    assert 1 / RATE - 1e-4 <= steps[39] <= 1 / RATE + (0.06 if audio else 1e-4)
    if audio:
        parts = [times_of(tmp_path / name) for name in ("a.ts", "b.ts")]
        for (part_frames, part_sound), start, begins in zip(
            parts, (0, 40), (0, len(parts[0][1])), strict=True
        ):
            in_step = part_sound[0] - part_frames[0]
            assert sound[begins] - frames[start] == pytest.approx(in_step, abs=1e-4)


@pytest.mark.extended
def test_a_third_recording_and_a_program_stream(tmp_path: Path) -> None:
    make(tmp_path / "a.mpg", frames=40)
    once, _ = times_of(tmp_path / "a.mpg")
    frames, sound = times_of(joined(tmp_path / "b.mpg", *3 * [tmp_path / "a.mpg"]))
    assert len(frames) == 3 * len(once)
    assert frames[-1] == pytest.approx(frames[0] + 3 * 40 / RATE - 1 / RATE, abs=0.15)
    assert (np.diff(frames) > 0.9 / RATE).all()
    assert (np.diff(frames) < 2.5 / RATE).all()
    assert (np.diff(sound) > 0).all()


@pytest.mark.extended
def test_a_joined_recording_is_written_in_step(tmp_path: Path) -> None:
    make(tmp_path / "a.ts", frames=40)
    source = joined(tmp_path / "c.ts", tmp_path / "a.ts", tmp_path / "a.ts")

    def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        return FrameResult(255 - frame, ())

    run(source, tmp_path / "d.mkv", process=invert)
    before, after = times_of(source), times_of(tmp_path / "d.mkv")
    for ours, read in zip(after, before, strict=True):
        np.testing.assert_allclose(ours - after[0][0], read - before[0][0], atol=2e-3)


@pytest.mark.extended
def test_damage_that_is_no_join_is_still_an_error(tmp_path: Path) -> None:
    make(tmp_path / "a.ts", frames=60)
    content = bytearray((tmp_path / "a.ts").read_bytes())
    packets = len(content) // TS_PACKET
    lost = [
        n
        for n in range(packets // 3, packets // 2)
        if (content[n * TS_PACKET + 1] & 0x1F) << 8 | content[n * TS_PACKET + 2] == VIDEO_PID
    ][:3]
    kept = [content[n * TS_PACKET : (n + 1) * TS_PACKET] for n in range(packets) if n not in lost]
    (tmp_path / "b.ts").write_bytes(b"".join(kept))
    with refusal(StreamError, "video-packet-damaged", path=tmp_path / "b.ts"):
        times_of(tmp_path / "b.ts")


@pytest.mark.extended
@pytest.mark.parametrize("bframes", [0, 2])
def test_first_frames_without_times_lie_before_the_first_that_has_one(
    tmp_path: Path, bframes: int
) -> None:
    make(tmp_path / "a.ts", frames=30, bframes=bframes, offset_s=1.4)
    expected, _ = times_of(tmp_path / "a.ts")
    without_times(tmp_path / "a.ts", 4)
    found, _ = times_of(tmp_path / "a.ts")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_gap_that_is_no_jump_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    pts = [*range(10), *range(100, 110)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for tick in pts:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames, _ = times_of(path)
    np.testing.assert_allclose(frames - frames[0], np.array(pts) / RATE, atol=1e-4)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("bframes", "sound"), [(0, "goes on"), (2, "goes on"), (2, "gap"), (2, "none")]
)
def test_a_gap_of_the_video_stays_where_a_packet_before_it_has_a_later_time(
    tmp_path: Path, bframes: int, sound: str
) -> None:
    """By B-frames, which precede a frame that is read before them, or by continuous audio."""
    path, gap_s = tmp_path / "a.ts", 15
    seconds = np.array([number / RATE + (number > 9) * gap_s for number in range(20)])
    with av.open(str(path), "w") as container:
        options = {"bf": str(bframes), "x264-params": "b-adapt=0"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        audio = None if sound == "none" else container.add_stream("mp2", rate=48000, layout="mono")
        packets = []
        for second in seconds:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = round(second * 90_000), Fraction(1, 90_000)
            packets += stream.encode(frame)
        packets += stream.encode()
        heard = [] if audio is None else silence(audio, 0.8 if sound == "gap" else 16)
        for packet in heard:
            if sound == "gap" and packet.pts * packet.time_base > 0.4:
                packet.pts = packet.dts = packet.pts + round(gap_s / packet.time_base)
        for packet in sorted([*packets, *heard], key=lambda one: one.dts * one.time_base):
            container.mux(packet)
    with av.open(str(path)) as container:
        stored = [p.pts * p.time_base for p in container.demux(audio=0) if p.size] if audio else []
    frames, audio_times = times_of(path)
    np.testing.assert_allclose(frames - frames[0], seconds, atol=1e-4)
    np.testing.assert_allclose(audio_times, np.array(stored, float), atol=1e-4)


def silence(audio, seconds: float) -> list:
    """Packets of silence."""
    packets = []
    for start in range(0, round(seconds * 48000), 1152):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        packets += audio.encode(frame)
    return packets + audio.encode()


@pytest.mark.extended
@pytest.mark.parametrize(
    ("name", "offset_s"), [("a.ts", 1.4), ("a.mpg", 0.0), ("a.mkv", 9000.0), ("a.mp4", 0.5)]
)
def test_metrics_and_targets_count_from_the_first_frame(
    tmp_path: Path, name: str, offset_s: float
) -> None:
    make(tmp_path / name, frames=8, offset_s=offset_s, audio=False)
    seen = []

    def same(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        seen.append(time_s)
        return FrameResult(frame, ())

    run(tmp_path / name, "null://", process=same)
    np.testing.assert_allclose(seen, np.arange(len(seen)) / RATE, atol=1e-3)
    assert seen[0] == 0.0


@pytest.mark.usefixtures("bundle")
def test_the_command_counts_from_the_first_frame(tmp_path: Path) -> None:
    make(tmp_path / "a.ts", frames=6, offset_s=1.4, audio=False)
    (tmp_path / "t.csv").write_text("time_s,pitch_deg,yaw_deg\n0,0,-10\n1,0,-10\n1.01,0,10\n")
    how = ["--follow", str(tmp_path / "t.csv"), "--metrics", str(tmp_path / "m.jsonl")]
    asked = CliRunner().invoke(main, ["run", str(tmp_path / "a.ts"), "null://", *how])
    assert asked.exit_code == 0, asked.output
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [line["time_s"] for line in lines] == pytest.approx([n / RATE for n in range(6)])
