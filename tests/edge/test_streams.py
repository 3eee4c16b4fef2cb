"""Pictures and videos: what is read is what is seen, and nothing is lost on the way."""

from __future__ import annotations

import struct
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mggr_edge.errors import MissingPackageError, OutputExistsError, StreamError, UsageError
from mggr_edge.streams.orientation import orientation_of_display_matrix, upright
from mggr_edge.streams.paths import choose_output, find_source, pictures_in
from mggr_edge.streams.picture_facts import exif_orientation, picture_facts
from mggr_edge.streams.pictures import Picture, read_picture, write_picture
from mggr_edge.streams.video_reader import AudioPacket, TimedFrame, open_video
from mggr_edge.streams.video_writer import COMMENT, open_writer

av = pytest.importorskip("av")


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def smooth_picture(height: int = 48, width: int = 64, *, shift: float = 0.0) -> np.ndarray:
    """[H, W, 3] uint8: no two of its eight orientations are alike, and codecs like it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = (40 + 2.5 * x + shift, 30 + 3.0 * y, 200 - x - y - shift)
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


# --- orientation ---------------------------------------------------------------------------


def exif_block(orientation: int, *, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)


def jpeg_with_exif(image: np.ndarray, block: bytes) -> bytes:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    segment = b"Exif\0\0" + block
    return encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + encoded[2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with_chunk(image: np.ndarray, kind: bytes, data: bytes) -> bytes:
    encoded = cv2.imencode(".png", image)[1].tobytes()
    after_header = 8 + 25
    return encoded[:after_header] + png_chunk(kind, data) + encoded[after_header:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_agrees_with_opencv(tmp_path: Path, orientation: int, order: str) -> None:
    path = tmp_path / "held.jpg"
    path.write_bytes(jpeg_with_exif(smooth_picture(), exif_block(orientation, order=order)))
    expected = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read_picture(path).rgb, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparent_png_is_turned_with_its_alpha(tmp_path: Path, orientation: int) -> None:
    rgb = smooth_picture(7, 11)
    alpha = np.arange(77, dtype=np.uint8).reshape(7, 11)
    path = tmp_path / "held.png"
    path.write_bytes(
        png_with_chunk(np.dstack([rgb[..., ::-1], alpha]), b"eXIf", exif_block(orientation))
    )
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.rgb, upright(rgb, orientation))
    np.testing.assert_array_equal(picture.alpha, upright(alpha, orientation))


def test_the_written_picture_is_upright_and_says_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "held.jpg"
    path.write_bytes(jpeg_with_exif(smooth_picture(), exif_block(6)))
    picture = read_picture(path)
    write_picture(tmp_path / "out.jpg", picture)
    assert picture_facts((tmp_path / "out.jpg").read_bytes()).orientation == 1
    again = read_picture(tmp_path / "out.jpg")
    assert again.rgb.shape == (64, 48, 3)
    assert psnr_db(again.rgb, picture.rgb) > 35


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_display_matrix_moves_points_as_upright_moves_pixels(orientation: int) -> None:
    image = np.arange(6).reshape(2, 3)
    turned = upright(image, orientation)
    found = []
    for a, b, c, d in [
        (p, q, r, s) for p in (-1, 0, 1) for q in (-1, 0, 1) for r in (-1, 0, 1) for s in (-1, 0, 1)
    ]:
        if abs(a * d - b * c) != 1 or abs(a) == abs(b):
            continue
        # The definition: stored point (p, q) is shown at (a p + c q, b p + d q), moved into view.
        points = {(a * p + c * q, b * p + d * q): image[q, p] for q in range(2) for p in range(3)}
        left, top = min(x for x, _ in points), min(y for _, y in points)
        shown = np.zeros(turned.shape, int)
        if {(x - left, y - top) for x, y in points} != {
            (x, y) for y in range(turned.shape[0]) for x in range(turned.shape[1])
        }:
            continue
        for (x, y), value in points.items():
            shown[y - top, x - left] = value
        if np.array_equal(shown, turned):
            matrix = np.array([a, b, 0, c, d, 0, 0, 0, 16384], np.int64) * 65536
            found.append(orientation_of_display_matrix(matrix))
    assert found == [orientation]


def test_a_display_matrix_between_quarter_turns_is_refused() -> None:
    c, s = np.cos(0.5), np.sin(0.5)
    with pytest.raises(ValueError, match="no quarter turn"):
        orientation_of_display_matrix(np.array([c, s, 0, -s, c, 0, 0, 0, 1]) * 65536)


# --- pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "bild mit ä und 目.png", "UPPER.PNG"])
def test_png_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    picture = Picture(smooth_picture())
    write_picture(tmp_path / name, picture)
    np.testing.assert_array_equal(read_picture(tmp_path / name).rgb, picture.rgb)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_kept(tmp_path: Path, suffix: str) -> None:
    alpha = smooth_picture()[..., 0]
    write_picture(tmp_path / f"a{suffix}", Picture(smooth_picture(), alpha))
    again = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.alpha, alpha)
    assert psnr_db(again.rgb, smooth_picture()) > 30


def test_transparency_is_refused_where_it_would_be_lost(tmp_path: Path) -> None:
    alpha = smooth_picture()[..., 0]
    with pytest.raises(UsageError, match=r"\.jpg cannot hold .* \.png or \.webp"):
        write_picture(tmp_path / "a.jpg", Picture(smooth_picture(), alpha))
    assert list(tmp_path.iterdir()) == []


ICC = b"a colour profile, long enough to need two segments" * 2000


def jpeg_profile_segments() -> bytes:
    halves = [ICC[:60000], ICC[60000:]]
    bodies = [b"ICC_PROFILE\0" + bytes([i + 1, 2]) + half for i, half in enumerate(halves)]
    return b"".join(b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body for body in bodies)


def test_a_jpegs_colour_profile_is_carried_over(tmp_path: Path) -> None:
    plain = cv2.imencode(".jpg", smooth_picture())[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(plain[:20] + jpeg_profile_segments() + plain[20:])
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.profile == jpeg_profile_segments()
    assert write_picture(tmp_path / "b.jpg", picture)
    assert read_picture(tmp_path / "b.jpg").profile == picture.profile
    assert write_picture(tmp_path / "c.png", picture) is False  # and it says so
    assert read_picture(tmp_path / "c.png").profile == b""


def test_a_pngs_colour_profile_is_carried_over(tmp_path: Path) -> None:
    chunk_data = b"name\0\0" + zlib.compress(ICC)
    (tmp_path / "a.png").write_bytes(png_with_chunk(smooth_picture(), b"iCCP", chunk_data))
    picture = read_picture(tmp_path / "a.png")
    assert picture.profile == png_chunk(b"iCCP", chunk_data)
    assert write_picture(tmp_path / "b.png", picture)
    again = read_picture(tmp_path / "b.png")
    assert again.profile == picture.profile
    np.testing.assert_array_equal(again.rgb, picture.rgb)


def test_grey_stays_grey(tmp_path: Path) -> None:
    grey = smooth_picture()[..., 0]
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.rgb, np.dstack([grey] * 3))
    write_picture(tmp_path / "b.png", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED), grey)


def test_jpeg_is_written_well(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (48, 64, 3))
    rgb = np.clip(smooth_picture() + noise, 0, 255).astype(np.uint8)
    write_picture(tmp_path / "a.jpg", Picture(rgb))
    reference = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert (tmp_path / "a.jpg").read_bytes() == reference


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((4, 4, 3), np.uint16))
    with pytest.raises(StreamError, match=r"deep\.png has 16 bits a channel, expected 8"):
        read_picture(tmp_path / "deep.png")


def encoded(suffix: str, *, progressive: bool = False) -> bytes:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if progressive else []
    return cv2.imencode(suffix, smooth_picture(120, 160), options)[1].tobytes()


@pytest.mark.parametrize(
    ("suffix", "progressive"),
    [(".jpg", False), (".jpg", True), (".png", False), (".webp", False), (".bmp", False)],
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_picture_cut_short_is_an_error(
    tmp_path: Path, suffix: str, progressive: bool, share: float
) -> None:
    content = encoded(suffix, progressive=progressive)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content)
    read_picture(path)  # whole, it is fine
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StreamError, match=rf"cut\{suffix} "):
        read_picture(path)


@pytest.mark.parametrize("content", [b"", b"not a picture at all", bytes(1000)])
def test_what_is_no_picture_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(StreamError, match=r"x\.jpg"):
        read_picture(tmp_path / "x.jpg")


def test_a_changed_byte_in_a_png_is_an_error(tmp_path: Path) -> None:
    content = bytearray(encoded(".png"))
    content[len(content) // 2] ^= 1
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(StreamError, match="damaged"):
        read_picture(tmp_path / "x.png")


def test_jpeg_with_thumbnail_and_trailing_bytes_is_whole(tmp_path: Path) -> None:
    block = exif_block(1) + encoded(".jpg")  # as cameras do: a JPEG inside the EXIF block
    (tmp_path / "x.jpg").write_bytes(jpeg_with_exif(smooth_picture(), block) + b"trailing bytes")
    assert read_picture(tmp_path / "x.jpg").rgb.shape == (48, 64, 3)


def test_animations_are_refused(tmp_path: Path) -> None:
    content = png_with_chunk(smooth_picture(), b"acTL", struct.pack(">II", 2, 0))
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(StreamError, match="animated"):
        read_picture(tmp_path / "x.png")
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\x02" + bytes(9)
    riff = b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x
    assert picture_facts(riff).animated


@given(
    st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b"BM", b""]),
    st.binary(max_size=300),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_facts_and_no_exception(magic: bytes, rest: bytes) -> None:
    assert 1 <= picture_facts(magic + rest).orientation <= 8
    assert 1 <= exif_orientation(b"II*\0" + rest) <= 8


# --- paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["csi://0", "rtsp://host/x", "/dev/video0", "v4l2:///dev/video0"])
def test_cameras_are_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match="camera or network address; this version reads a picture"):
        find_source(text)


def test_inputs_are_told_apart(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.MP4", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert find_source(tmp_path / "a.JPG").kind == "picture"
    assert find_source(tmp_path / "b.MP4").kind == "video"
    assert find_source(tmp_path).kind == "folder"
    with pytest.raises(UsageError, match=r"c\.txt is neither"):
        find_source(tmp_path / "c.txt")
    with pytest.raises(StreamError, match="does not exist"):
        find_source(tmp_path / "d.png")


def test_unnamed_outputs_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.b.JPG").write_bytes(b"x")
    source = find_source(tmp_path / "a.b.JPG")
    chosen = []
    for _ in range(3):
        output = choose_output(source, None, force=True)
        output.write_bytes(b"x")
        chosen.append(output.name)
    assert chosen == ["a.b-redirected.JPG", "a.b-redirected-2.JPG", "a.b-redirected-3.JPG"]


def test_unnamed_output_of_folders_and_foreign_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "v1.0"
    folder.mkdir()
    (folder / "x.avi").write_bytes(b"x")
    assert choose_output(find_source(folder), None, force=False).name == "v1.0-redirected"
    video = find_source(folder / "x.avi")
    assert choose_output(video, None, force=False).name == "x-redirected.mp4"
    monkeypatch.chdir(folder)
    expected = tmp_path.resolve() / "v1.0-redirected"
    assert choose_output(find_source("."), None, force=False) == expected


@pytest.mark.parametrize(
    ("input_", "output", "message"),
    [
        ("a.jpg", "a.jpg", "the input itself"),
        ("a.jpg", "pics/../a.jpg", "the input itself"),
        ("a.jpg", "b.mp4", "must end in .jpg"),
        ("a.jpg", "b", "has no suffix"),
        ("a.jpg", "pics", "name the file, e.g. "),
        ("v.mp4", "b.avi", "must end in .mp4 .mov .mkv"),
        ("v.mp4", "rtsp://@:1/x", "device or network address"),
        ("pics", "a.jpg", "so OUTPUT must be one; "),
        ("pics", "new.png", "so OUTPUT must be one; "),
        ("pics", ".", "contains the input"),
    ],
)
def test_outputs_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input_: str, output: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pics").mkdir()
    for name in ("a.jpg", "v.mp4"):
        Path(name).write_bytes(b"x")
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        choose_output(find_source(input_), output, force=True)


def test_a_named_output_that_exists_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    source = find_source(tmp_path / "a.jpg")
    with pytest.raises(OutputExistsError, match="--force"):
        choose_output(source, tmp_path / "b.jpg", force=False)
    assert choose_output(source, tmp_path / "b.jpg", force=True) == tmp_path / "b.jpg"


def test_pictures_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt", "v.mp4", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.jpg").mkdir()
    pictures, others = pictures_in(tmp_path)
    assert [p.name for p in pictures] == ["a.jpg", "b.png"]
    assert others == 3


# --- videos --------------------------------------------------------------------------------

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


def test_aac_priming_does_not_shift_the_picture(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", pts=CONSTANT, audio="aac")
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    (video_in, audio_in), (video_out, audio_out) = (
        read_all(tmp_path / name) for name in ("in.mp4", "out.mp4")
    )
    assert audio_in[0].packet.pts < 0
    assert [a.packet.pts for a in audio_out] == [a.packet.pts for a in audio_in]
    assert [f.time_s for f in video_out] == [f.time_s for f in video_in]


def test_sound_that_does_not_fit_says_which_container_does(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mkv", pts=CONSTANT, audio="libopus")
    with pytest.raises(StreamError, match=r"\.mov cannot hold .*opus.*; name an OUTPUT .* \.mkv"):
        copy_video(tmp_path / "in.mkv", tmp_path / "out.mov")
    copy_video(tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert len(read_all(tmp_path / "out.mkv")[1]) == len(read_all(tmp_path / "in.mkv")[1])


def test_the_file_says_that_it_was_altered(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", pts=CONSTANT)
    copy_video(tmp_path / "in.mp4", tmp_path / "once.mp4")
    copy_video(tmp_path / "once.mp4", tmp_path / "twice.mp4")
    with av.open(str(tmp_path / "once.mp4")) as container:
        assert container.metadata["comment"] == COMMENT
        assert container.metadata["title"] == "a moving ramp"
    with av.open(str(tmp_path / "twice.mp4")) as container:
        assert container.metadata["comment"] == f"{COMMENT}; {COMMENT}"


def test_output_is_fragmented_h264_that_browsers_play(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", pts=[24 * i for i in range(120)])
    copy_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.count(b"moof") >= 3  # 4.8 s in fragments of two
    assert content.index(b"moov") < content.index(b"moof")
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")


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


def test_a_change_of_size_is_refused_and_placed(tmp_path: Path) -> None:
    for name, size in (("a.h264", (48, 64)), ("b.h264", (96, 64))):
        make_video(tmp_path / name, pts=list(range(5)), time_base=Fraction(1, 25), size=size)
    joined = tmp_path / "joined.h264"
    joined.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    with pytest.raises(StreamError, match=r"joined\.h264 changes its size .*frame 5"):
        read_all(joined)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.8])
def test_a_video_cut_short_is_an_error(tmp_path: Path, suffix: str, share: float) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    make_video(whole, pts=[24 * i for i in range(100)], audio="aac")
    assert len(read_all(whole)[0]) == 100
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StreamError, match=r"cut\."):
        read_all(cut)


def test_a_damaged_stretch_is_an_error(tmp_path: Path) -> None:
    make_video(tmp_path / "x.mp4", pts=[24 * i for i in range(100)])
    content = bytearray((tmp_path / "x.mp4").read_bytes())
    middle = (content.index(b"mdat") + len(content)) // 2
    content[middle : middle + 400] = bytes(400)
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(StreamError, match=r"x\.mp4"):
        read_all(tmp_path / "x.mp4")


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, bytes(5000)])
def test_what_is_no_video_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(StreamError, match=r"x\.mp4 cannot be read"):
        read_all(tmp_path / "x.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        _add_tone(container, container.add_stream("aac", rate=48000), 0.5)
    with pytest.raises(StreamError, match="holds no video"):
        read_all(tmp_path / "x.mp4")


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "x.mp4").write_bytes(b"")
    with pytest.raises(MissingPackageError, match=r"PyAV.*mggr-tf\[edge\]"):
        read_all(tmp_path / "x.mp4")
