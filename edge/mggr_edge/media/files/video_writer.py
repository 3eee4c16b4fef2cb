"""Write video files: H.264 for 8 bits, H.265 for HDR and 10 bits.

The file is written in fragments of two seconds. If the process is killed, the complete fragments of
the file can still be played. The index is written together with the first fragment (`delay_moov`).
The reason is the start time of the audio. This time is often negative, and it is unknown until the
first fragment is written. Because the index contains this start time, the writer does not shift any
track in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.audio_tracks import AudioTracks
from mggr_edge.media.files.colour import ColourConverter, VideoColour, tag_encoder
from mggr_edge.media.files.kept import file_metadata, lost, needs_free_keys
from mggr_edge.media.files.marks import (
    BOXED_SUFFIXES,
    REDIRECTED,
    append_xmp_box,
    marked_xmp,
)
from mggr_edge.media.files.pyav import file_url, import_pyav, stream_errors
from mggr_edge.media.files.ten_bit import PIXEL_FORMAT, TenBitPicture
from mggr_edge.media.files.video_reader import AudioPacket, TimedFrame, VideoLayout
from mggr_edge.media.files.written import Expected, read_back


@dataclass(frozen=True)
class Encoding:
    """Encoder settings for the frames of a video.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name of the pixel format.
        options: options of the encoder.
        mp4_tag: code of the sample entry in MP4 and MOV. `None` selects FFmpeg's default.
    """

    encoder: str
    pixel_format: str
    options: Mapping[str, str]
    mp4_tag: str | None = None


# preset: "veryfast" encoded 80 frames/s with a PSNR of 42 dB (measured with 720p on two cores).
# "medium" has half of this speed, and its quality is not better.
# bf: B-frames are disabled, so that an MP4 file states the duration of each frame. Without
# B-frames, files are a fifth larger than with B-frames.
# g: The keyframe interval of x264 is unlimited (x264 treats 2^30 as "infinite"). x264 counts the
# interval in frames, but this writer requests keyframes by time.
_H264 = Encoding(
    "libx264", "yuv420p", {"preset": "veryfast", "crf": "17", "bf": "0", "g": str(1 << 30)}
)

# log-level: Without this parameter, x265 writes messages to stderr.
# cbqpoffs and crqpoffs: In BT.2020, the colours of BT.709 use a smaller part of the value range.
# Therefore, chroma needs finer quantization.
_X265_PARAMS = ("bframes=0", "keyint=-1", "cbqpoffs=-4", "crqpoffs=-4", "log-level=none")

_CRF, _CRF_OF_PQ = "17", "12"
"""Constant rate factors of x265. The first is for HLG and 10-bit SDR, the second is for PQ.

PQ needs finer quantization, because half of its code values are above SDR white. With these
factors, the quality is similar to that of H.264 in SDR. The PSNR in luma, Cb and Cr was measured on
12 frames (higher is better):

- H.264 in SDR: 43.4, 50.4 and 51.4 dB
- SDR view of HLG: 43.6, 51.9 and 51.3 dB
- SDR view of PQ: 43.4, 50.9 and 49.8 dB

The HLG file and the PQ file are both at least 10 % smaller than the H.264 file."""


def encoding_of(colour: VideoColour) -> Encoding:
    """Return the encoder settings for a video with the given colour properties."""
    if not colour.is_ten_bit:
        return _H264
    is_pq = colour.tone_map is not None and colour.tone_map.transfer == "pq"
    options = {
        "preset": "superfast",
        "crf": _CRF_OF_PQ if is_pq else _CRF,
        "forced-idr": "1",
        "x265-params": ":".join((*_X265_PARAMS, *colour.hdr.x265_params())),
    }
    # Apple's players accept `hvc1`, but not FFmpeg's default, `hev1`.
    return Encoding("libx265", PIXEL_FORMAT, options, mp4_tag="hvc1")


def add_video_stream(container: Any, encoding: Encoding, *, rate: Fraction, path: Path) -> Any:
    """Add a video stream to an output container.

    Args:
        container: PyAV output container.
        encoding: encoder settings.
        rate: nominal frame rate in frames per second.
        path: path of the output file. Its suffix decides whether `mp4_tag` is used.

    Raises:
        StreamError: the installed FFmpeg does not have the encoder.
    """
    try:
        stream = container.add_stream(encoding.encoder, rate=rate, options=dict(encoding.options))
    except import_pyav().codec.codec.UnknownCodecError as error:
        raise StreamError(
            f"{path} cannot be written: the installed PyAV does not contain FFmpeg's encoder "
            f"{encoding.encoder}; install the PyAV wheel with: pip install --force-reinstall av",
            code="encoder-missing",
            path=path,
            encoder=encoding.encoder,
        ) from error
    if encoding.mp4_tag is not None and path.suffix.lower() != ".mkv":
        stream.codec_context.codec_tag = encoding.mp4_tag
    return stream


_FRAGMENT_S = 2.0
_FINE_TICKS = 90_000
_LONGEST_TICKS = 1 << 30
"""Maximum duration of a frame in an MP4 file, in ticks.

If a frame lasts 2^31 ticks or more, FFmpeg changes the times of the frames."""


class VideoWriter:
    """Writer for frames and audio. Use `open_writer` to create a writer.

    The method `read_back` sets the attributes at the end.

    Attributes:
        notes: descriptions of the changes to frames and audio.
        losses: descriptions of the parts of the source that the file does not contain.
    """

    def __init__(
        self, container: Any, layout: VideoLayout, *, path: Path, options: dict[str, str]
    ) -> None:
        self._container, self._layout, self._path = container, layout, path
        self._converter = ColourConverter(layout.colour)
        self._video = self._add_video()
        self._expected = Expected()
        self._audio = AudioTracks(container, layout.audio, options, expected=self._expected)
        self._tracks: dict[int, int] = {}
        self._last: TimedFrame | None = None
        self._shown: Any = None
        self._keyed_s = -float("inf")
        self.notes: tuple[str, ...] = ()
        self.losses: tuple[str, ...] = ()
        container.start_encoding()

    def write(self, picture: NDArray[np.uint8] | TenBitPicture, at: TimedFrame) -> None:
        """Write a frame with the time of its source frame.

        Args:
            picture: frame with the size of the layout. For a video with 8 bits: RGB pixels,
                [H, W, 3] uint8. For a video with 10 bits: a `TenBitPicture`.
            at: source frame. The written frame gets the time of this frame.

        Raises:
            ValueError: the size or type of the frame differs from the layout.
        """
        frame = self._frame_of(picture)
        self._bridge(at.pts)
        frame.pts, frame.time_base = at.pts, self._layout.time_base
        if at.time_s - self._keyed_s >= _FRAGMENT_S:
            # Keyframes are requested by time, not by the number of frames. The actual frame rate of
            # a live source or of a variable-rate video differs from the nominal rate.
            frame.pict_type = import_pyav().video.frame.PictureType.I
            self._keyed_s = at.time_s
        self._last, self._shown = at, frame
        self._mux(self._video.encode(frame))

    def _frame_of(self, picture: NDArray[np.uint8] | TenBitPicture) -> Any:
        if isinstance(picture, TenBitPicture):
            if picture.size != self._layout.size or not self._layout.colour.is_ten_bit:
                raise ValueError(
                    f"expected a frame of size {self._layout.size}, got a 10-bit frame of size "
                    f"{picture.size}"
                )
            return picture.frame()
        expected = (*self._layout.size, 3)
        if picture.shape != expected or picture.dtype != np.uint8:
            raise ValueError(f"expected uint8 {expected}, got {picture.dtype} {picture.shape}")
        if self._layout.colour.is_ten_bit:
            raise ValueError("expected the 10-bit samples of an HDR video, got 8-bit RGB")
        return self._converter.frame_from_rgb(_even(picture))

    def pass_audio(self, audio: AudioPacket) -> None:
        """Write an encoded audio packet.

        `AudioTracks` copies the packet, encodes the packet again, or drops the packet.
        """
        self._audio.write(audio.packet)

    def end_at(self, pts: int) -> None:
        """Set the end time of the last frame, in ticks of the layout's time base."""
        if self._last is not None:
            self._last = replace(self._last, duration=pts - self._last.pts)

    def finish(self) -> None:
        """Write the frames and audio packets that are still buffered in the encoders."""
        for packet in self._video.encode():
            last = self._last
            if last is not None and last.duration is not None and packet.pts == last.pts:
                # The encoder can only estimate the duration of the last frame. All other frames
                # end when the next frame begins.
                packet.duration = last.duration
            self._mux([packet])
        self._audio.finish()
        # Streams cannot be used after the container is closed.
        self._tracks = {source: stream.index for source, stream in self._audio.streams.items()}

    def read_back(self, temporary: Path) -> None:
        """Check the closed file, and set `notes` and `losses`.

        Args:
            temporary: path of the closed file.

        Raises:
            StreamError: the end of the file is missing or differs from the written packets.
        """
        layout = self._layout
        with read_back(temporary, self._expected, path=self._path) as container:
            there = {source: container.streams[index] for source, index in self._tracks.items()}
            gone = lost(layout.metadata, layout.extras, container, there)
        self.losses = (
            *layout.left_out,
            *gone,
            *layout.colour.hdr.left_out,
        )
        self.notes = (*_picture_notes(layout), *self._audio.notes)

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._expected.note(packet, self._video)
            self._container.mux(packet)

    def _bridge(self, pts: int) -> None:
        """If the gap before `pts` is too long for one frame of an MP4 file, repeat the last frame.

        Args:
            pts: time of the next frame in ticks.
        """
        last, ticks = self._last, _LONGEST_TICKS // self._layout.time_base.numerator
        if last is None or self._container.format.name == "matroska":
            return
        shown_pts = last.pts
        while pts - shown_pts > ticks:
            shown_pts += ticks
            self._shown.pts = shown_pts
            self._mux(self._video.encode(self._shown))

    def _add_video(self) -> Any:
        layout = self._layout
        encoding = encoding_of(layout.colour)
        stream = add_video_stream(self._container, encoding, rate=layout.rate, path=self._path)
        height, width = layout.size
        context = stream.codec_context
        context.height, context.width = height + height % 2, width + width % 2
        context.pix_fmt = encoding.pixel_format
        context.time_base = layout.time_base
        context.thread_type = "AUTO"
        if layout.pixel_aspect:
            context.sample_aspect_ratio = layout.pixel_aspect
        tag_encoder(context, layout.colour)
        stream.metadata.update(layout.extras.metadata)
        stream.disposition = layout.extras.disposition
        return stream


class NoWriter:
    """Writer that discards all frames and audio. It has the interface of `VideoWriter`."""

    def write(self, picture: NDArray[np.uint8] | TenBitPicture, at: TimedFrame) -> None:
        """Discard a frame."""

    def pass_audio(self, audio: AudioPacket) -> None:
        """Discard an audio packet."""


@contextmanager
def open_writer(
    temporary: Path, layout: VideoLayout, *, path: Path, comment: str = REDIRECTED
) -> Iterator[VideoWriter]:
    """Open a video file for writing.

    The file is completed when the context ends without an error.

    4:2:0 supports only even sizes. For an odd size, the last row or column is duplicated, so that
    no pixel is lost.

    Args:
        temporary: path at which the file is written. The suffix selects the container.
        layout: properties of the source video.
        path: final path of the file, used in error messages.
        comment: text that is added to the metadata. If the source has a comment, the text is
            added after that comment. With `REDIRECTED`, an MP4 or QuickTime file also gets the
            mark of `marks` as XMP.

    Raises:
        StreamError: the file cannot be written, or the end of the completed file is missing or
            differs from the written packets.
    """
    av = import_pyav()
    # Packets are written to the disk immediately. If the process is killed, a fragment that is
    # still in a buffer is lost.
    options = {"flush_packets": "1"}
    if temporary.suffix.lower() != ".mkv":
        options |= _mp4_options(layout)
    with (
        stream_errors(path, "written"),
        av.open(file_url(temporary), "w", options=options) as container,
    ):
        container.metadata.update(file_metadata(layout.metadata, comment))
        container.set_chapters(list(layout.extras.chapters))
        writer = VideoWriter(container, layout, path=path, options=options)
        yield writer
        writer.finish()
    writer.read_back(temporary)
    if comment == REDIRECTED and temporary.suffix.lower() in BOXED_SUFFIXES:
        with stream_errors(path, "written"):
            append_xmp_box(temporary, marked_xmp(b"", comment))


def is_padded(layout: VideoLayout) -> bool:
    """Return whether a row or column must be duplicated to get an even size."""
    return any(length % 2 for length in layout.size)


def _even(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return rgb
    return cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def _picture_notes(layout: VideoLayout) -> tuple[str, ...]:
    notes = []
    if is_padded(layout):
        height, width = layout.size
        wide, high = width + width % 2, height + height % 2
        notes.append(
            f"frames of {width} x {height} were extended to {wide} x {high}, because the chroma "
            "format 4:2:0 needs even sizes"
        )
    if layout.colour.read_format is not None:
        bits = 10 if layout.colour.is_ten_bit else 8
        notes.append(f"{layout.colour.read_format} was converted to 4:2:0 with {bits} bits")
    return tuple(notes)


def _mp4_options(layout: VideoLayout) -> dict[str, str]:
    free_keys = "+use_metadata_tags" if needs_free_keys(layout.metadata) else ""
    # The time scale of MP4 is a whole number of ticks per second. For example, a time base of
    # 1001/30000 s needs 30000 ticks per second. The start times of tracks are in ticks of the movie
    # time scale. The movie time scale is a multiple of the video time scale, so that the start of
    # the video is exact. The movie time scale has at least 90000 ticks per second, so that the
    # start of the audio is precise.
    ticks = layout.time_base.denominator
    return {
        "movflags": f"frag_keyframe+delay_moov{free_keys}",
        "video_track_timescale": str(ticks),
        "movie_timescale": str(ticks * ceil(_FINE_TICKS / ticks)),
    }
