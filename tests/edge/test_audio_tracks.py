"""Audio of a written video: copied, encoded as AAC, or dropped with a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run
from mggr_edge.runs.summary import RunSummary

av = pytest.importorskip("av")

from videos_with_audio import audio_codecs, audio_of, write_video  # noqa: E402


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


def redirected(source: Path, suffix: str) -> RunSummary:
    return run(source, source.with_name(f"out{suffix}"), process=invert)


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_aac_of_a_transport_stream_is_copied(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "in.ts", audio=("aac",))
    summary = redirected(source, suffix)
    assert summary.notes == ()
    out = tmp_path / f"out{suffix}"
    assert audio_codecs(out) == ["aac"]
    # ADTS repeats seven bytes of parameters in front of each packet; Matroska may keep them.
    bare = [packet[7:] for packet in packets_of(source)]
    assert [p[7:] if p[:2] == b"\xff\xf1" else p for p in packets_of(out)] == bare
    before, after = audio_of(source), audio_of(out)
    assert after[0] == pytest.approx(before[0], abs=2e-3)
    assert len(after[1]) == len(before[1])


@pytest.mark.extended
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "audio", "suffix"),
    [
        ("in.avi", "mjpeg", "yuvj420p", "pcm_s16le", ".mp4"),
        ("in.avi", "mjpeg", "yuvj420p", "adpcm_ima_wav", ".mp4"),
        ("in.avi", "mjpeg", "yuvj420p", "adpcm_ima_wav", ".mkv"),
        ("in.wmv", "wmv2", "yuv420p", "wmav2", ".mov"),
        ("in.mkv", "libx264", "yuv420p", "flac", ".mov"),
    ],
)
def test_audio_that_the_container_does_not_take_becomes_aac(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, audio: str, suffix: str
) -> None:
    source = write_video(tmp_path / name, codec=codec, pix_fmt=pix_fmt, audio=(audio,))
    summary = redirected(source, suffix)
    assert audio_codecs(tmp_path / f"out{suffix}") == ["aac"]
    (note,) = summary.notes
    assert audio in note
    assert "AAC" in note
    (start, samples, rate), (new_start, new, new_rate) = (
        audio_of(path) for path in (source, tmp_path / f"out{suffix}")
    )
    assert new_rate == rate == 48_000
    begin, length = round((new_start - start) * rate), 12_288
    fitting = [
        np.corrcoef(samples[8192:][:length], new[8192 - begin + lag :][:length])[0, 1]
        for lag in range(-1100, 1101, 4)  # by an encoder's frame, older FFmpegs move all tracks
    ]
    assert max(fitting) > 0.98


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_pcm_is_copied_where_the_container_takes_it(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "in.mkv", audio=("pcm_s16le",))
    summary = redirected(source, suffix)
    assert summary.notes == ()
    assert audio_codecs(tmp_path / f"out{suffix}") == ["pcm_s16le"]
    assert b"".join(packets_of(tmp_path / f"out{suffix}")) == b"".join(packets_of(source))


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_track_that_ffmpeg_cannot_decode_is_dropped(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "in.mov", audio=("aac", "aac"))
    content = bytearray(source.read_bytes())
    second = content.index(b"mp4a", content.rindex(b"stsd"))
    content[second : second + 4] = b"apac"  # as telephones name their spatial audio
    at = content.index(b"esds", second)
    content[at : at + 4] = b"free"
    source.write_bytes(content)
    summary = redirected(source, suffix)
    assert audio_codecs(tmp_path / f"out{suffix}") == ["aac"]
    (note,) = summary.notes
    assert "track 2" in note
    assert "dropped" in note


reads_flv = pytest.mark.skipif(
    int(av.__version__.split(".")[0]) < 17, reason="PyAV 16.1 crashes when it opens an FLV file"
)


@pytest.mark.extended
@reads_flv
def test_a_packet_with_a_repeated_time_is_moved_by_a_moment(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.flv", codec="flv", audio=("aac",), audio_rate=44_100)
    number = _set_times(source, lambda number, times: times[number - 1] if number == 10 else None)
    summary = redirected(source, ".mp4")
    (note,) = summary.notes
    assert note.endswith(": 1")
    assert len(packets_of(tmp_path / "out.mp4")) == number


@pytest.mark.extended
@reads_flv
def test_packets_from_the_past_are_dropped(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.flv", codec="flv", audio=("aac",), audio_rate=44_100)
    number = _set_times(source, lambda number, times: times[2] if number in (10, 11) else None)
    summary = redirected(source, ".mp4")
    (note,) = summary.notes
    assert "dropped" in note
    assert note.endswith(": 2")
    assert len(packets_of(tmp_path / "out.mp4")) == number - 2


@pytest.mark.extended
def test_a_gap_in_audio_that_is_encoded_anew_becomes_silence(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with (
        av.open(str(write_video(tmp_path / "whole.mkv", audio=("pcm_s16le",)))) as whole,
        av.open(str(source), "w") as gapped,
    ):
        copies = {s.index: gapped.add_stream_from_template(s) for s in whole.streams}
        for packet in whole.demux():
            is_audio = packet.stream.type == "audio"
            if packet.size and not (is_audio and 0.3 < packet.pts * packet.time_base < 0.6):
                packet.stream = copies[packet.stream.index]
                gapped.mux(packet)
    redirected(source, ".mp4")
    start, samples, rate = audio_of(tmp_path / "out.mp4")
    loud = [
        float(np.abs(samples[round((t - start) * rate) :][:2400]).max()) for t in (0.15, 0.45, 0.75)
    ]
    assert loud[0] > 0.2
    assert loud[1] < 0.02
    assert loud[2] > 0.2


@pytest.mark.extended
def test_damaged_packets_of_audio_that_is_encoded_anew_are_counted(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", audio=("flac",))
    content = bytearray(source.read_bytes())
    packet = packets_of(source)[4]
    at = content.index(packet)
    content[at : at + len(packet)] = bytes(len(packet))
    source.write_bytes(content)
    summary = redirected(source, ".mov")
    assert any("damaged" in note and note.endswith(": 1") for note in summary.notes)
    assert len(audio_of(tmp_path / "out.mov")[1]) > 40_000


def _set_times(path: Path, time_of) -> int:
    """Rewrites times of audio tags of an FLV file in milliseconds; returns their number."""
    content, at, times = bytearray(path.read_bytes()), 13, []
    while at + 11 <= len(content):
        kind, size = content[at], int.from_bytes(content[at + 1 : at + 4], "big")
        if kind == 8:
            new = time_of(len(times), times)
            if new is not None:
                content[at + 4 : at + 7] = new.to_bytes(3, "big")
            times.append(int.from_bytes(content[at + 4 : at + 7], "big"))
        at += 11 + size + 4
    path.write_bytes(content)
    return len(times) - 1  # the first tag holds AAC's parameters
