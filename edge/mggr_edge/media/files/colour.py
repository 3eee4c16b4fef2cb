"""Convert the colours of video frames: YUV to RGB and back, with 8 or 10 bits.

If the input file does not state its YUV matrix, the output file does not state a matrix either. A
player then makes the same assumption for both files. Written frames always have limited ("TV")
range, because every player supports this range.

RGB values are SDR. For an HDR video, the RGB values are the result of the tone mapping. The
networks need these SDR values as input. HDR and 10-bit videos are written from the stored values
(`ten_bit.TenBitPicture`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.kept import NO_METADATA, HdrMetadata, hdr_metadata
from mggr_edge.media.files.pyav import import_pyav
from mggr_edge.media.files.ten_bit import PIXEL_FORMAT, TenBitPicture, ten_bit_picture
from mggr_edge.media.files.tone_mapping import SDR, CodeMap, SdrView, ToneMap, tone_map_for

# Codes of ITU-T H.273.
_UNSPECIFIED = 2
_BT709, _SMPTE170M, _SMPTE240M, _BT2020 = 1, 6, 7, 9
_LIMITED, _FULL = 1, 2

# libswscale's code of a YUV matrix, for each H.273 code of the matrix.
_SWSCALE_MATRIX = {_BT709: 1, 4: 4, 5: 5, _SMPTE170M: 5, _SMPTE240M: 7, _BT2020: 9}

_UNREADABLE = {
    8: "YCgCo",
    10: "BT.2020 constant luminance",
    11: "Y'D'zD'x",
    13: "constant luminance",
    14: "ICtCp",
    15: "IPT-C2 (Dolby Vision, profile 5)",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
"""H.273 matrices that libswscale does not support.

A conversion with another matrix would produce wrong colours."""

# libswscale's flags area, full_chroma_int, full_chroma_inp and accurate_rnd. Without these flags,
# the conversion to RGB and back makes a picture darker: luma changes by -1.09 levels (measured).
# With the flags, the root-mean-square error of luma is 0.006 levels.
_EXACT = 0x20 | 0x2000 | 0x4000 | 0x40000

_BITS, _MOST_BITS = 8, 10
"""Bits per channel of the written videos: 8 with H.264, 10 with H.265."""

_HD_HEIGHT = 720
"""Minimum frame height in pixels at which players assume the matrix of BT.709.

For smaller heights, players assume the matrix of BT.601. These assumptions apply only to files that
do not state a matrix."""


@dataclass(frozen=True)
class VideoColour:
    """Interpretation of the YUV values of a video.

    Attributes:
        matrix: libswscale's code of the YUV matrix, for the conversion to RGB and back.
        is_full_range: whether the frames of the input have full range (luma 0 to 255 with 8 bits).
        matrix_tag, primaries_tag, transfer_tag: H.273 codes of the matrix, the primaries and the
            transfer characteristics. These codes are written to the output.
        is_ten_bit: whether frames are written from the stored values with 10 bits. The value is
            `True` for HDR, and for SDR with more than 8 bits.
        hdr: static HDR metadata of the video.
        read_format: FFmpeg's name of the pixel format of the input, if the conversion to the
            output format loses information. Examples are 4:2:2, 4:4:4, RGB and 12 bits. `None`
            means that no information is lost.
    """

    matrix: int
    is_full_range: bool
    matrix_tag: int
    primaries_tag: int
    transfer_tag: int
    is_ten_bit: bool = False
    hdr: HdrMetadata = NO_METADATA
    read_format: str | None = None

    @property
    def tone_map(self) -> ToneMap | None:
        """Mapping from the code values of an HDR video to SDR. `None` means an SDR video."""
        return tone_map_for(self.transfer_tag, self.primaries_tag)

    @property
    def code_map(self) -> CodeMap:
        """Mapping from the code values of the video to the code values of its SDR view."""
        return self.tone_map or SDR


def colour_of(frame: Any, codec_context: Any) -> VideoColour:
    """Return the colour properties of a decoded frame and its decoder.

    Args:
        frame: decoded PyAV frame.
        codec_context: PyAV codec context of the decoder.

    Raises:
        StreamError: the YUV matrix of the frame cannot be converted to RGB.
    """
    tag = int(frame.colorspace)
    if tag in _UNREADABLE and not frame.format.is_rgb:
        raise StreamError(
            f"the video's YUV matrix is {_UNREADABLE[tag]} (H.273 code {tag}), which cannot be "
            "converted; encode the video again with the matrix of BT.709, BT.601 or BT.2020 "
            "(non-constant luminance)",
            code="yuv-matrix-unsupported",
            matrix=tag,
        )
    primaries, transfer = int(codec_context.color_primaries), int(codec_context.color_trc)
    is_hdr = tone_map_for(transfer, primaries) is not None
    bits = max(part.bits for part in frame.format.components)
    assumed = _BT709 if frame.height >= _HD_HEIGHT else _SMPTE170M
    if is_hdr:
        assumed = _BT2020  # libswscale supports only this matrix of BT.2100
    if frame.format.is_rgb or tag not in (*_SWSCALE_MATRIX, _UNSPECIFIED):
        tag = assumed  # RGB frames have no matrix, but the 4:2:0 output needs one
    return VideoColour(
        matrix=_SWSCALE_MATRIX[assumed if tag == _UNSPECIFIED else tag],
        is_full_range=frame.color_range == _FULL or frame.format.name.startswith("yuvj"),
        matrix_tag=tag,
        primaries_tag=primaries,
        transfer_tag=transfer,
        is_ten_bit=is_hdr or bits > _BITS,
        hdr=hdr_metadata(frame),
        read_format=frame.format.name if _is_finer(frame.format, bits) else None,
    )


def _is_finer(pixel_format: Any, bits: int) -> bool:
    """Return whether frames of the pixel format lose information when they are written.

    The output has 4:2:0 chroma and 8 or 10 bits.
    """
    has_colour = len(pixel_format.components) >= 3  # grey formats have one or two components
    halves = pixel_format.chroma_width(2), pixel_format.chroma_height(2)
    return bits > _MOST_BITS or (has_colour and halves != (1, 1))


def colour_of_rgb(height: int) -> VideoColour:
    """Return the colour properties of a video that is encoded from RGB frames.

    The video has the YUV matrix that players assume for this height. Therefore, the output file
    does not state the matrix.

    Args:
        height: frame height in pixels.
    """
    assumed = _BT709 if height >= _HD_HEIGHT else _SMPTE170M
    return VideoColour(
        matrix=_SWSCALE_MATRIX[assumed],
        is_full_range=False,
        matrix_tag=_UNSPECIFIED,
        primaries_tag=_UNSPECIFIED,
        transfer_tag=_UNSPECIFIED,
    )


class ColourConverter:
    """Colour converter for the frames of one video.

    The converter keeps libswscale's tables from frame to frame. Therefore, use one converter only
    for one direction: to RGB or from RGB.

    Args:
        colour: interpretation of the YUV values of the video.
    """

    def __init__(self, colour: VideoColour) -> None:
        self._colour = colour
        self._reformatter = import_pyav().video.reformatter.VideoReformatter()
        self._sdr_view = None if colour.tone_map is None else SdrView(colour.tone_map)

    def rgb_from_frame(self, frame: Any) -> NDArray[np.uint8]:
        """Convert a decoded frame to RGB, [H, W, 3] uint8.

        An HDR frame is tone-mapped to SDR.
        """
        source = {} if frame.format.is_rgb else self._source_of_read_frames()
        if self._sdr_view is not None:
            return self._sdr_view.rgb_from_frame(
                frame, dst_color_range=_FULL, interpolation=_EXACT, **source
            )
        return self._reformatter.reformat(
            frame, format="rgb24", dst_color_range=_FULL, interpolation=_EXACT, **source
        ).to_ndarray()

    def ten_bit_from_frame(self, frame: Any, orientation: int) -> TenBitPicture:
        """Copy the stored values of a decoded frame.

        A frame in another format is first converted to 10-bit 4:2:0 with limited range.

        Args:
            frame: PyAV frame.
            orientation: EXIF orientation of the frame, 1 to 8.
        """
        if frame.format.name != PIXEL_FORMAT or self._colour.is_full_range:
            source = {} if frame.format.is_rgb else self._source_of_read_frames()
            frame = self._reformatter.reformat(
                frame,
                format=PIXEL_FORMAT,
                dst_colorspace=self._colour.matrix,
                dst_color_range=_LIMITED,
                interpolation=_EXACT,
                **source,
            )
        return ten_bit_picture(frame, orientation, matrix=self._colour.matrix)

    def frame_from_rgb(self, rgb: NDArray[np.uint8]) -> Any:
        """Convert [H, W, 3] uint8 RGB to a yuv420p frame with limited range."""
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
    """Set the colour tags of an encoder. Call this function before the encoder is opened."""
    codec_context.color_range = _LIMITED
    codec_context.colorspace = colour.matrix_tag
    codec_context.color_primaries = colour.primaries_tag
    codec_context.color_trc = colour.transfer_tag
