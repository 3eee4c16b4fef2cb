"""Videos: damaged, without frames or times, larger than they are, and what is none."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing import Case, Rng, output_for
from fuzzing_bytes import cut, damaged, extreme, flipped, spliced
from ramps import smooth_picture

_FRAMES = 8

_BASES = {  # suffix -> FFmpeg's container, codec, pixel format, sound
    ".mp4": ("mp4", "libx264", "yuv420p", "aac"),
    ".mov": ("mov", "mpeg4", "yuv420p", None),
    ".m4v": ("mp4", "libx264", "yuv444p", None),
    ".mkv": ("matroska", "ffv1", "bgr0", "pcm_s16le"),
    ".webm": ("matroska", "libx264", "yuv420p", None),
    ".avi": ("avi", "mjpeg", "yuvj420p", None),
    ".ts": ("mpegts", "mpeg2video", "yuv420p", None),
    ".flv": ("flv", "flv", "yuv420p", None),
    ".wmv": ("asf", "wmv2", "yuv420p", None),
    ".mpg": ("mpeg", "mpeg1video", "yuv420p", None),
}


def make_video_case(rng: Rng, folder: Path) -> Case:
    """A video file, of which something is wrong more often than not."""
    make = _KINDS[rng.integers(len(_KINDS))]
    content, suffix, what = make(rng)
    (folder / f"me{suffix}").write_bytes(content)
    wanted = str(rng.choice([".mp4", ".mkv", ".mov"]))
    arguments, writes = output_for(rng, folder, wanted)
    return Case((f"me{suffix}", *arguments), writes, what=what)


def _damaged_video(rng: Rng) -> tuple[bytes, str, str]:
    suffix = str(rng.choice(list(_BASES)))
    content, how = damaged(rng, _encoded(suffix))
    return content, suffix, f"{suffix} {how}"


def _damaged_header(rng: Rng) -> tuple[bytes, str, str]:
    suffix = str(rng.choice(list(_BASES)))
    content = _encoded(suffix)
    first, last = 0, 600
    if suffix in (".mp4", ".m4v", ".mov"):  # the index stands at the end
        first, last = content.index(b"moov"), len(content)
    head = content[first:last]
    changed = (flipped, extreme, spliced)[rng.integers(3)](rng, head)
    return content[:first] + changed + content[last:], suffix, f"{suffix}, its header"


def _absurd_numbers(rng: Rng) -> tuple[bytes, str, str]:
    """An MP4 whose boxes say what cannot be: sizes, counts, time scales, durations."""
    suffix = str(rng.choice([".mp4", ".mov", ".m4v"]))
    content = bytearray(_encoded(suffix))
    boxes = (b"mvhd", b"tkhd", b"mdhd", b"stts", b"stsz", b"stco", b"stsc", b"avc1", b"mp4v")
    boxes = (*boxes, b"elst", b"ctts", b"stsd", b"avcC", b"moov", b"mdat")
    there = [box for box in boxes if box in content]
    box = there[rng.integers(len(there))]
    at = content.index(box) + int(rng.integers(-1, 12)) * 4
    numbers = (0, 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 0x40004000, 0xFFFF0000)
    content[at : at + 4] = struct.pack(">I", numbers[rng.integers(len(numbers))])
    return bytes(content), suffix, f"{suffix} with an absurd number in {box.decode()}"


def _two_sizes(rng: Rng) -> tuple[bytes, str, str]:
    """Pictures that change their size in the middle, once or to and fro."""
    parts = [_raw(int(h), int(w)) for h, w in rng.choice([16, 48, 50, 96], (3, 2))]
    return b"".join(parts), ".ts", "changing sizes"


def _vast(rng: Rng) -> tuple[bytes, str, str]:
    """A picture as large as its codec allows, of nearly no bytes."""
    suffix = str(rng.choice([".mkv", ".avi", ".mov"]))
    content = bytearray(_encoded(suffix))
    side = int(rng.choice([5_000, 12_000, 16_383, 65_535]))
    if suffix == ".avi":
        at = content.index(b"strf") + 8
        content[at + 4 : at + 12] = struct.pack("<ii", side, side)
    elif suffix == ".mov":
        at = content.index(b"mp4v") + 4 + 24
        content[at : at + 4] = struct.pack(">HH", min(side, 65_535), min(side, 65_535))
    else:
        for name in (b"\xb0\x81\x40", b"\xba\x81\x30"):  # PixelWidth 64, PixelHeight 48
            at = content.find(name)
            if at >= 0:
                content[at + 2] = 0x7F
    return bytes(content), suffix, f"{suffix} of {side} x {side}"


def _vast_h264(rng: Rng) -> tuple[bytes, str, str]:
    """H.264 whose parameters say that it is vast."""
    side = int(rng.choice([4_096, 8_192, 16_384]))
    return _vast_raw(side), str(rng.choice([".ts", ".mp4", ".mkv"])), f"H.264 of {side} x {side}"


def _no_frames(rng: Rng) -> tuple[bytes, str, str]:
    if rng.random() < 0.5:
        return _only_sound(), ".mp4", "sound alone"
    suffix = str(rng.choice([".mkv", ".avi", ".mp4"]))
    return _muxed(suffix, ()), suffix, f"{suffix} without frames"


def _odd_times(rng: Rng) -> tuple[bytes, str, str]:
    """Times that are missing, negative, repeated, far apart, or so near that they run out."""
    kinds: dict[str, tuple[int, ...]] = {
        "negative": tuple(range(-500, -500 + 40 * _FRAMES, 40)),
        "far apart": (0, 40, 80, 2**30),
        "one": (0,),
        "a day late": tuple(86_400_000 + 40 * n for n in range(4)),
    }
    name = str(rng.choice([*kinds, "none"]))
    if name == "none":
        return _raw(48, 64), str(rng.choice([".mp4", ".avi", ".ts"])), "no times"
    suffix = ".mkv" if name == "far apart" else str(rng.choice([".mkv", ".mp4", ".m4v"]))
    return _muxed(suffix, kinds[name]), suffix, f"{suffix}, times {name}"


def _no_video(rng: Rng) -> tuple[bytes, str, str]:
    """Text, pictures, and lists of other files and addresses, named as a video."""
    import cv2

    closed = "127.0.0.1:9"
    others = {
        "text": b"no video at all\n" * 200,
        "nothing": b"",
        "zeros": bytes(4096),
        "a JPEG": cv2.imencode(".jpg", smooth_picture())[1].tobytes(),
        "a PNG": cv2.imencode(".png", smooth_picture())[1].tobytes(),
        "a playlist": f"#EXTM3U\n#EXTINF:5,\nhttp://{closed}/a.ts\n#EXT-X-ENDLIST\n".encode(),
        "a list": b"ffconcat version 1.0\nfile me.mp4\n" * 3,
        "a session": f"v=0\no=- 0 0 IN IP4 {closed[:9]}\ns=x\nc=IN IP4 {closed[:9]}\nt=0 0\n"
        "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n".encode(),
        "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n" * 20,
        "sound": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(400),
        "noise": rng.bytes(5000),
        "a GIF": b"GIF89a" + struct.pack("<HH", 60000, 60000) + b"\xf0\0\0" + rng.bytes(200),
    }
    name = str(rng.choice(list(others)))
    return others[name], str(rng.choice(list(_BASES))), name


def _sound_one(rng: Rng) -> tuple[bytes, str, str]:
    suffix = str(rng.choice(list(_BASES)))
    return _encoded(suffix), suffix, f"sound {suffix}"


def _named_otherwise(rng: Rng) -> tuple[bytes, str, str]:
    suffix, other = (str(s) for s in rng.choice(list(_BASES), 2))
    return _encoded(suffix), other, f"{suffix} named {other}"


def _cut_short(rng: Rng) -> tuple[bytes, str, str]:
    suffix = str(rng.choice(list(_BASES)))
    return cut(rng, _encoded(suffix)), suffix, f"{suffix} cut"


_KINDS: tuple[Callable[[Rng], tuple[bytes, str, str]], ...] = (
    *(_damaged_video,) * 3,
    *(_damaged_header,) * 3,
    *(_absurd_numbers,) * 3,
    _cut_short,
    _two_sizes,
    _vast,
    _vast_h264,
    _no_frames,
    *(_odd_times,) * 2,
    *(_no_video,) * 2,
    _sound_one,
    _named_otherwise,
)


# Videos to begin with.


def _av() -> Any:
    import av

    return av


@cache
def _encoded(suffix: str) -> bytes:
    return _muxed(suffix, tuple(range(0, 40 * _FRAMES, 40)), with_sound=True)


@cache
def _muxed(suffix: str, times_ms: tuple[int, ...], *, with_sound: bool = False) -> bytes:
    container, codec, pix_fmt, audio = _BASES[suffix]
    base = Fraction(1, 25) if codec in ("mpeg2video", "mpeg1video", "mpeg4") else Fraction(1, 1000)
    av = _av()
    file = io.BytesIO()
    with av.open(file, "w", format=container) as muxer:
        video = muxer.add_stream(codec, rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, pix_fmt
        video.codec_context.time_base = base
        sound = muxer.add_stream(audio, rate=48000) if audio and with_sound else None
        muxer.start_encoding()
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(smooth_picture(shift=number), "rgb24")
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(time_ms / 1000 / base), base
            muxer.mux(video.encode(frame))
        muxer.mux(video.encode())
        if sound is not None:
            _add_tone(muxer, sound)
    return file.getvalue()


def _add_tone(muxer: Any, sound: Any) -> None:
    for start in range(0, 12 * 1024, 1024):
        tone = np.sin(np.arange(start, start + 1024) / 20)
        kind, values = "fltp", np.stack([tone, tone]).astype(np.float32)
        if sound.codec_context.name == "pcm_s16le":
            kind, values = "s16", (8000 * np.repeat(tone, 2)[None]).astype(np.int16)
        frame = _av().AudioFrame.from_ndarray(values, format=kind, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        muxer.mux(sound.encode(frame))
    muxer.mux(sound.encode())


@cache
def _only_sound() -> bytes:
    file = io.BytesIO()
    with _av().open(file, "w", format="mp4") as muxer:
        _add_tone(muxer, muxer.add_stream("aac", rate=48000))
    return file.getvalue()


@cache
def _raw(height: int, width: int) -> bytes:
    """H.264 without a container, and so without times."""
    av = _av()
    file = io.BytesIO()
    with av.open(file, "w", format="h264") as muxer:
        video = muxer.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = height, width, "yuv420p"
        for number in range(4):
            rgb = smooth_picture(height, width, shift=number)
            muxer.mux(video.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        muxer.mux(video.encode())
    return file.getvalue()


def _vast_raw(side: int) -> bytes:
    """H.264 parameter sets for a square picture, before slices of a small one."""
    writer = _Bits()
    writer.put(0x42001F, 24)  # baseline
    writer.golomb(0, 0, 0, 1)  # id, frame number, picture order, references
    writer.put(0, 1)
    writer.golomb(side // 16 - 1, side // 16 - 1)
    writer.put(0b11000, 5)  # whole frames, direct inference, no cropping, no more
    writer.put(1, 1)
    parameters = b"\0\0\0\1\x67" + writer.content()
    small = _raw(48, 64)
    return parameters + small[small.index(b"\0\0\0\1\x68") :]


class _Bits:
    """Bits one after the other, and numbers as H.264 writes them."""

    def __init__(self) -> None:
        self._bits = ""

    def put(self, value: int, width: int) -> None:
        self._bits += f"{value:0{width}b}"

    def golomb(self, *values: int) -> None:
        for value in values:
            digits = f"{value + 1:b}"
            self._bits += "0" * (len(digits) - 1) + digits

    def content(self) -> bytes:
        bits = self._bits + "0" * (-len(self._bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")
