"""Videos: every frame at its time, sound as it was, damage said."""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.media.files.colour import colour_of_rgb
from mggr_edge.media.files.exif import upright
from mggr_edge.media.files.marks import ESTIMATED, REDIRECTED
from mggr_edge.media.files.video_reader import AudioPacket, TimedFrame, VideoLayout, open_video
from mggr_edge.media.files.video_writer import open_writer
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run
from ramps import psnr_db, smooth_picture
from refusals import refusal

av = pytest.importorskip("av")

TICKS = Fraction(1, 600)


def make_video(
    path: Path,
    *,
    pts: list[int],
    time_base: Fraction = TICKS,
    size: tuple[int, int] = (48, 64),
    audio: str | None = None,
    prepare=None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> None:
    """A video of a moving ramp; `prepare(stream)` may set more of its stream."""
    muxer = {"movflags": "faststart", "video_track_timescale": str(time_base.denominator)}
    is_mp4 = path.suffix in (".mp4", ".mov")
    with av.open(str(path), "w", options=muxer if is_mp4 else {}) as container:
        container.metadata["title"] = "a moving ramp"
        stream = container.add_stream(codec, rate=25, options=options or {"crf": "10"})
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        if prepare is not None:
            prepare(stream)
        sound = container.add_stream(audio, rate=48000) if audio else None
        if sound is not None:
            sound.metadata["language"] = "fin"
        for count, tick in enumerate(pts):
            rgb = smooth_picture(*size, shift=2.0 * count)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=5,
                src_color_range=2,
                dst_color_range=1,
                interpolation=0x20 | 0x40000 | 0x2000,
            )
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            seconds = float((pts[-1] + 24) * time_base)
            _add_tone(container, sound, seconds)


def _add_tone(container, sound, seconds: float) -> None:
    for start in range(0, int(seconds * 48000), 1024):
        t = (start + np.arange(1024)) / 48000
        tone = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(sound.encode(frame))
    container.mux(sound.encode())


def read_all(path: Path) -> tuple[list[TimedFrame], list[AudioPacket]]:
    with open_video(path) as video:
        items = list(video.items)
    frames = [item for item in items if isinstance(item, TimedFrame)]
    return frames, [item for item in items if isinstance(item, AudioPacket)]


def copy_video(source: Path, target: Path) -> None:
    with (
        open_video(source) as video,
        open_writer(target, video.layout, path=target) as writer,
    ):
        for item in video.items:
            if isinstance(item, AudioPacket):
                writer.pass_audio(item)
            else:
                writer.write(item.rgb, item)


CONSTANT = [24 * i for i in range(30)]
VARIABLE = [0, 24, 48, 49, 50, 200, 230, 231, 600, 640, 700, 720]


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("pts", [CONSTANT, VARIABLE, [240 + p for p in VARIABLE]])
def test_every_frame_comes_out_at_its_time(tmp_path: Path, suffix: str, pts: list[int]) -> None:
    make_video(tmp_path / "in.mp4", pts=pts)
    copy_video(tmp_path / "in.mp4", tmp_path / f"out{suffix}")
    before, _ = read_all(tmp_path / "in.mp4")
    after, _ = read_all(tmp_path / f"out{suffix}")
    assert [f.time_s for f in before] == [float(p * TICKS) for p in pts]
    assert [f.time_s for f in after] == [f.time_s for f in before]
    assert after[-1].duration == before[-1].duration
    pairs = list(zip(before, after, strict=True))
    assert min(psnr_db(one.rgb, two.rgb) for one, two in pairs) > 38
    darker = [float(one.rgb.mean()) - float(two.rgb.mean()) for one, two in pairs]
    assert abs(np.mean(darker)) < 0.5  # libswscale's quick conversion loses a grey level


@pytest.mark.extended
def test_matroska_keeps_times_to_the_millisecond(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", pts=VARIABLE)
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mkv")
    before, after = read_all(tmp_path / "in.mp4")[0], read_all(tmp_path / "out.mkv")[0]
    assert [f.time_s for f in after] == pytest.approx([f.time_s for f in before], abs=6e-4)


def test_ntsc_time_base_is_exact(tmp_path: Path) -> None:
    base = Fraction(1001, 30000)
    make_video(tmp_path / "in.mp4", pts=list(range(12)), time_base=base)
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert times == [i * base for i in range(12)]


@pytest.mark.extended
@pytest.mark.parametrize("codec", ["aac", "libopus", "libmp3lame"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_passed_through_bit_for_bit(tmp_path: Path, codec: str, suffix: str) -> None:
    make_video(tmp_path / "in.mkv", pts=CONSTANT, audio=codec)
    copy_video(tmp_path / "in.mkv", tmp_path / f"out{suffix}")
    _, before = read_all(tmp_path / "in.mkv")
    _, after = read_all(tmp_path / f"out{suffix}")
    assert len(before) > 20
    assert [bytes(a.packet) for a in after] == [bytes(b.packet) for b in before]
    starts = [[float(p.packet.pts * p.packet.time_base) for p in side] for side in (before, after)]
    assert starts[1] == pytest.approx(starts[0], abs=1.1e-3)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert container.streams.audio[0].language == "fin"


@pytest.mark.extended
def test_aac_priming_does_not_shift_the_picture(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", pts=CONSTANT, audio="aac")
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    (video_in, audio_in), (video_out, audio_out) = (
        read_all(tmp_path / name) for name in ("in.mp4", "out.mp4")
    )
    assert audio_in[0].packet.pts < 0
    assert [a.packet.pts for a in audio_out] == [a.packet.pts for a in audio_in]
    assert [f.time_s for f in video_out] == [f.time_s for f in video_in]


@pytest.mark.extended
@pytest.mark.parametrize(("level", "comment"), [(0, ESTIMATED), (1, REDIRECTED)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_a_file_in_another_container_states_whether_it_was_altered(
    tmp_path: Path, pix_fmt: str, level: int, comment: str
) -> None:
    codec = "libx264" if pix_fmt == "yuv420p" else "ffv1"
    source, calls = tmp_path / "in.mkv", []
    make_video(source, pts=list(range(0, 144, 24)), codec=codec, pix_fmt=pix_fmt)

    def darken_last(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        calls.append(time_s)
        return FrameResult(frame - level if len(calls) == 6 else frame, ())

    summary = run(source, tmp_path / "out.mp4", process=darken_last)
    assert (summary.frames, len(calls)) == (6, 6)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["comment"] == comment
        assert len([p for p in container.demux(video=0) if p.size]) == 6


@pytest.mark.extended
def test_the_file_says_that_it_was_altered(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", pts=CONSTANT)
    copy_video(tmp_path / "in.mp4", tmp_path / "once.mp4")
    copy_video(tmp_path / "once.mp4", tmp_path / "twice.mp4")
    with av.open(str(tmp_path / "once.mp4")) as container:
        assert container.metadata["comment"] == REDIRECTED
        assert container.metadata["title"] == "a moving ramp"
    with av.open(str(tmp_path / "twice.mp4")) as container:
        assert container.metadata["comment"] == f"{REDIRECTED}; {REDIRECTED}"


def test_output_is_fragmented_h264_that_browsers_play(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", pts=[24 * i for i in range(120)])
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.count(b"moof") >= 3  # 4.8 s in fragments of two
    assert content.index(b"moov") < content.index(b"moof")
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.extended
@pytest.mark.parametrize(("size", "padded"), [((47, 64), (48, 64)), ((47, 63), (48, 64))])
def test_odd_sizes_gain_a_row_or_column_and_lose_none(
    tmp_path: Path, size: tuple[int, int], padded: tuple[int, int]
) -> None:
    make_video(tmp_path / "in.mkv", pts=[0, 40, 80], time_base=Fraction(1, 1000), size=size,
               codec="ffv1", pix_fmt="yuv444p", options={})  # fmt: skip
    copy_video(tmp_path / "in.mkv", tmp_path / "out.mp4")
    before, after = read_all(tmp_path / "in.mkv")[0], read_all(tmp_path / "out.mp4")[0]
    assert before[0].rgb.shape[:2] == size
    assert after[0].rgb.shape[:2] == padded
    assert psnr_db(after[0].rgb[: size[0], : size[1]], before[0].rgb) > 38


_DISPLAY_MATRICES = {  # EXIF's number -> a, b, c, d; written out, not taken from the code
    1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
    5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
}  # fmt: skip


def hold_camera(path: Path, orientation: int) -> None:
    """Writes a display matrix into the track header of an MP4, as phones do."""
    content = bytearray(path.read_bytes())
    a, b, c, d = (value * 65536 for value in _DISPLAY_MATRICES[orientation])
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + len(matrix)] = matrix
    path.write_bytes(content)


@pytest.mark.extended
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_videos_come_out_upright(tmp_path: Path, orientation: int) -> None:
    make_video(tmp_path / "in.mp4", pts=CONSTANT[:3])
    hold_camera(tmp_path / "in.mp4", orientation)
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    before, after = read_all(tmp_path / "in.mp4")[0], read_all(tmp_path / "out.mp4")[0]
    expected = upright(smooth_picture(), orientation)
    assert psnr_db(before[0].rgb, expected) > 30
    assert psnr_db(after[0].rgb, expected) > 30
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def set_colour(stream, *, matrix: int, full: bool) -> None:
    context = stream.codec_context
    context.colorspace, context.color_range = matrix, 2 if full else 1
    context.color_primaries = context.color_trc = matrix


@pytest.mark.extended
@pytest.mark.parametrize(("matrix", "tag"), [(1, 1), (5, 5), (2, 2)])
def test_colour_tags_and_colours_are_kept(tmp_path: Path, matrix: int, tag: int) -> None:
    make_video(
        tmp_path / "in.mp4",
        pts=CONSTANT[:3],
        prepare=lambda s: set_colour(s, matrix=matrix, full=False),
    )
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    planes = []
    for name in ("in.mp4", "out.mp4"):
        with av.open(str(tmp_path / name)) as container:
            frame = next(container.decode(video=0))
            context = container.streams.video[0].codec_context
            assert context.colorspace == tag
            assert context.color_primaries == tag
            assert context.color_range != 2
            planes.append(frame.to_ndarray(format="yuv420p"))
    assert psnr_db(*planes) > 40  # the same numbers, whatever a player takes them for


@pytest.mark.extended
def test_full_range_is_read_as_such(tmp_path: Path) -> None:
    """The same numbers, once said to be limited and once full: full shows less contrast."""
    contrast = {}
    for full in (False, True):
        path = tmp_path / f"{full}.mp4"
        make_video(
            path, pts=CONSTANT[:2], prepare=lambda s, f=full: set_colour(s, matrix=5, full=f)
        )
        copy_video(path, tmp_path / "out.mp4")
        before, after = read_all(path)[0][0], read_all(tmp_path / "out.mp4")[0][0]
        assert psnr_db(before.rgb, after.rgb) > 38
        contrast[full] = float(after.rgb.std())
    assert contrast[True] == pytest.approx(contrast[False] * 219 / 255, rel=0.03)


def test_pixel_aspect_turns_with_the_picture(tmp_path: Path) -> None:
    def prepare(stream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    make_video(tmp_path / "in.mp4", pts=CONSTANT[:2], prepare=prepare)
    hold_camera(tmp_path / "in.mp4", 6)
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(3, 4)


def test_frames_without_times_get_the_rate(tmp_path: Path) -> None:
    make_video(tmp_path / "in.h264", pts=list(range(10)), time_base=Fraction(1, 25))
    frames, _ = read_all(tmp_path / "in.h264")
    assert len(frames) == 10
    steps = np.diff([f.time_s for f in frames])
    np.testing.assert_allclose(steps, 1 / 25, atol=1e-3)


def test_frames_of_another_size_are_scaled_into_the_first_and_none_is_lost(tmp_path: Path) -> None:
    for name, size in (("a.h264", (48, 64)), ("b.h264", (96, 64))):
        make_video(tmp_path / name, pts=list(range(5)), time_base=Fraction(1, 25), size=size)
    joined = tmp_path / "joined.h264"
    joined.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    joined.rename(tmp_path / "joined.ts")
    sizes = []

    def look(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        sizes.append(frame.shape[:2])
        return FrameResult(255 - frame, ())

    summary = run(tmp_path / "joined.ts", tmp_path / "out.mkv", process=look)
    assert sizes == [(48, 64)] * 5 + [(96, 64)] * 5
    assert (summary.frames, summary.refitted) == (10, 5)
    frames, _ = read_all(tmp_path / "out.mkv")
    assert [frame.rgb.shape for frame in frames] == [(48, 64, 3)] * 10
    first, last = frames[4].rgb, frames[9].rgb
    assert first[:, :12].mean() > 60
    assert last[:, :12].mean() < 20
    small = cv2.resize(255 - smooth_picture(96, 64, shift=8.0), (32, 48))
    assert psnr_db(last[:, 16:48], small) > 25


@pytest.mark.extended
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.8])
def test_a_video_cut_short_is_an_error(tmp_path: Path, suffix: str, share: float) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    make_video(whole, pts=[24 * i for i in range(100)], audio="aac")
    assert len(read_all(whole)[0]) == 100
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StreamError) as caught:
        read_all(cut)
    assert caught.value.code in ("video-unreadable", "video-truncated", "video-packet-damaged")
    assert caught.value.fields["path"] == cut


def test_a_damaged_stretch_is_an_error(tmp_path: Path) -> None:
    make_video(tmp_path / "x.mp4", pts=[24 * i for i in range(100)])
    content = bytearray((tmp_path / "x.mp4").read_bytes())
    middle = (content.index(b"mdat") + len(content)) // 2
    content[middle : middle + 400] = bytes(400)
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(StreamError) as caught:
        read_all(tmp_path / "x.mp4")
    assert caught.value.code in ("video-unreadable", "video-frame-damaged")
    assert caught.value.fields["path"] == tmp_path / "x.mp4"


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, bytes(5000)])
def test_what_is_no_video_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with refusal(StreamError, "video-unreadable", path=tmp_path / "x.mp4"):
        read_all(tmp_path / "x.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        _add_tone(container, container.add_stream("aac", rate=48000), 0.5)
    with refusal(StreamError, "no-video-stream", path=tmp_path / "x.mp4"):
        read_all(tmp_path / "x.mp4")


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "x.mp4").write_bytes(b"")
    command = "pip install 'mggr-tf[edge]'"
    with refusal(MissingPackageError, "missing-package", command=command) as refused:
        read_all(tmp_path / "x.mp4")
    assert "PyAV" in str(refused.value.fields["package"])


def test_a_list_of_other_files_is_no_video(tmp_path: Path) -> None:
    make_video(tmp_path / "a.ts", pts=CONSTANT, codec="mpeg2video", time_base=Fraction(1, 25))
    for name, content in (
        ("list.mp4", "#EXTM3U\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", "ffconcat version 1.0\nfile a.ts\n"),
    ):
        (tmp_path / name).write_text(content)
        with refusal(StreamError, "video-unreadable", path=tmp_path / name):
            read_all(tmp_path / name)


def test_a_name_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "x.mp4", pts=CONSTANT[:3])
    (tmp_path / "x.mp4").rename("tcp:127.0.0.1:9.mp4")
    assert len(read_all(Path("tcp:127.0.0.1:9.mp4"))[0]) == 3


def test_a_matroska_file_may_begin_late(tmp_path: Path) -> None:
    make_video(
        tmp_path / "in.mkv", pts=[5000 + 40 * i for i in range(8)], time_base=Fraction(1, 1000)
    )
    assert len(read_all(tmp_path / "in.mkv")[0]) == 8


def test_keyframes_come_every_two_seconds_whatever_the_average_rate_is(tmp_path: Path) -> None:
    path, tick, picture = tmp_path / "out.mp4", Fraction(1, 30), smooth_picture()
    # As a telephone films: thirty frames a second, and ten when it gets dark.
    layout = VideoLayout(
        picture.shape[:2], tick, Fraction(24), None, colour_of_rgb(48), (), {}, (), None
    )
    with open_writer(path, layout, path=path) as writer:
        for pts in (*range(150), *range(150, 210, 3)):
            writer.write(picture, TimedFrame(picture, pts, None, float(pts * tick)))
    with av.open(str(path)) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe]
    assert keys == pytest.approx([0.0, 2.0, 4.0, 6.0])
