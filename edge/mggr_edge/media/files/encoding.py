"""Encoders of video files: H.264 for 8 bits, H.265 for HDR and 10 bits, as phones write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mggr_edge.errors import StreamError
from mggr_edge.media.files.colour import VideoColour
from mggr_edge.media.files.pyav import import_pyav
from mggr_edge.media.files.ten_bit import PIXEL_FORMAT


@dataclass(frozen=True)
class Encoding:
    """How a video's frames are encoded.

    Attributes:
        encoder: FFmpeg's name.
        pixel_format: FFmpeg's name.
        options: of the encoder.
        mp4_tag: the sample entry in MP4 and MOV; None for FFmpeg's choice.
    """

    encoder: str
    pixel_format: str
    options: Mapping[str, str]
    mp4_tag: str | None = None


# Measured on 720p, two cores: 80 frames/s at 42 dB; "medium" halves the speed for no gain.
# No B-frames: an MP4 then says how long each frame is shown, at a fifth more bytes.
# No limit for its own distance of keyframes (2^30 is x264's word for that), which it counts in
# frames: they are asked for by time.
_H264 = Encoding(
    "libx264", "yuv420p", {"preset": "veryfast", "crf": "17", "bf": "0", "g": str(1 << 30)}
)

# log-level: x265 writes to stderr by itself.
# Chroma offsets: BT.2020 keeps colours of BT.709 in a smaller part of its range.
_X265_PARAMS = ("bframes=0", "keyint=-1", "cbqpoffs=-4", "crqpoffs=-4", "log-level=none")

_CRF, _CRF_OF_PQ = "17", "12"
"""PQ has half of its codes above SDR white, so that it needs finer steps. Measured against H.264 of
the same 12 frames in SDR (43.4, 50.4, 51.4 dB in luma, Cb and Cr): the SDR view of HLG has 43.6,
51.9 and 51.3 dB, of PQ 43.4, 50.9 and 49.8 dB, both at nine tenths of the bytes or less."""


def encoding_of(colour: VideoColour) -> Encoding:
    """The encoding of a video of this colour."""
    if not colour.is_ten_bit:
        return _H264
    is_pq = colour.tone_map is not None and colour.tone_map.transfer == "pq"
    options = {
        "preset": "superfast",
        "crf": _CRF_OF_PQ if is_pq else _CRF,
        "forced-idr": "1",
        "x265-params": ":".join((*_X265_PARAMS, *colour.hdr.x265_params())),
    }
    # Apple's players take `hvc1`, and not FFmpeg's own choice, `hev1`.
    return Encoding("libx265", PIXEL_FORMAT, options, mp4_tag="hvc1")


def add_video_stream(container: Any, encoding: Encoding, *, rate: Fraction, path: Path) -> Any:
    """Adds a video stream to a container that is written.

    Raises:
        StreamError: this FFmpeg lacks the encoder.
    """
    try:
        stream = container.add_stream(encoding.encoder, rate=rate, options=dict(encoding.options))
    except import_pyav().codec.codec.UnknownCodecError as error:
        raise StreamError(
            f"{path} needs FFmpeg's encoder {encoding.encoder}, which this PyAV lacks; "
            "install PyAV's own wheel: pip install --force-reinstall av"
        ) from error
    if encoding.mp4_tag is not None and path.suffix.lower() != ".mkv":
        stream.codec_context.codec_tag = encoding.mp4_tag
    return stream
