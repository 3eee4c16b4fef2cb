"""YUV to RGB and back with one matrix, so that a frame nobody touched keeps its colours.

A file that does not name its matrix keeps not naming it: whatever a player
then assumes, it assumes of both files. Written frames are always of limited
("TV") range, which every player understands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.streams.pyav import import_pyav

# ITU-T H.273 code points.
_UNSPECIFIED = 2
_BT709, _SMPTE170M, _SMPTE240M, _BT2020 = 1, 6, 7, 9
_LIMITED, _FULL = 1, 2

# H.273 matrix -> the number of libswscale's matrix.
_SWSCALE_MATRIX = {_BT709: 1, 4: 4, 5: 5, _SMPTE170M: 5, _SMPTE240M: 7, _BT2020: 9}

# libswscale's flags area, full_chroma_int, full_chroma_inp, accurate_rnd. Without them each way
# darkens a picture by a grey level (measured: luma -1.09 there and back; with them, 0.006 rms).
_EXACT = 0x20 | 0x2000 | 0x4000 | 0x40000

_HD_HEIGHT = 720
"""From here on players take an unnamed matrix for BT.709, below for BT.601."""


@dataclass(frozen=True)
class VideoColour:
    """How a video's YUV numbers are meant.

    Attributes:
        matrix: libswscale's number of the YUV matrix that is used both ways.
        is_full_range: whether the *read* frames use 0-255 for luma.
        matrix_tag, primaries_tag, transfer_tag: H.273 code points to be written.
    """

    matrix: int
    is_full_range: bool
    matrix_tag: int
    primaries_tag: int
    transfer_tag: int


def colour_of(frame: Any, codec_context: Any) -> VideoColour:
    """Reads the colour off a decoded frame and its decoder."""
    tag = int(frame.colorspace)
    if frame.format.is_rgb or tag not in (*_SWSCALE_MATRIX, _UNSPECIFIED):
        # RGB has no matrix yet, and H.264 of 4:2:0 needs one.
        tag = _BT709 if frame.height >= _HD_HEIGHT else _SMPTE170M
    assumed = _BT709 if frame.height >= _HD_HEIGHT else _SMPTE170M
    return VideoColour(
        matrix=_SWSCALE_MATRIX[assumed if tag == _UNSPECIFIED else tag],
        is_full_range=frame.color_range == _FULL or frame.format.name.startswith("yuvj"),
        matrix_tag=tag,
        primaries_tag=int(codec_context.color_primaries),
        transfer_tag=int(codec_context.color_trc),
    )


def colour_of_rgb(height: int) -> VideoColour:
    """What a video becomes that is made of RGB frames: the matrix that players assume, unnamed."""
    assumed = _BT709 if height >= _HD_HEIGHT else _SMPTE170M
    return VideoColour(
        matrix=_SWSCALE_MATRIX[assumed],
        is_full_range=False,
        matrix_tag=_UNSPECIFIED,
        primaries_tag=_UNSPECIFIED,
        transfer_tag=_UNSPECIFIED,
    )


class ColourConverter:
    """Converts frames of one video, one way; keeps libswscale's tables between frames.

    Args:
        colour: how the video's YUV is meant.
    """

    def __init__(self, colour: VideoColour) -> None:
        self._colour = colour
        self._reformatter = import_pyav().video.reformatter.VideoReformatter()

    def rgb_from_frame(self, frame: Any) -> NDArray[np.uint8]:
        """Converts a decoded frame to [H, W, 3] uint8 RGB."""
        source = {} if frame.format.is_rgb else self._source_of_read_frames()
        return self._reformatter.reformat(
            frame, format="rgb24", dst_color_range=_FULL, interpolation=_EXACT, **source
        ).to_ndarray()

    def frame_from_rgb(self, rgb: NDArray[np.uint8]) -> Any:
        """Converts [H, W, 3] uint8 RGB to a yuv420p frame of limited range."""
        frame = import_pyav().VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=self._colour.matrix,
            src_color_range=_FULL,
            dst_color_range=_LIMITED,
            interpolation=_EXACT,
        )

    def _source_of_read_frames(self) -> dict[str, int]:
        full = self._colour.is_full_range
        return {
            "src_colorspace": self._colour.matrix,
            "src_color_range": _FULL if full else _LIMITED,
        }


def tag_encoder(codec_context: Any, colour: VideoColour) -> None:
    """Writes the colour's names into the encoder, before it is opened."""
    codec_context.color_range = _LIMITED
    codec_context.colorspace = colour.matrix_tag
    codec_context.color_primaries = colour.primaries_tag
    codec_context.color_trc = colour.transfer_tag
