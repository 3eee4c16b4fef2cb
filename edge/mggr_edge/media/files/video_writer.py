"""Writes video files: H.264 for 8 bits, H.265 for HDR and 10 bits.

The file is written in fragments of two seconds, so that it plays up to the
last one even if the program is killed. Its index waits for the first fragment
(`delay_moov`), because only then the start time of the sound is known, which
often lies before zero, and no track has to be shifted.
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

from mggr_edge.common.version import __version__
from mggr_edge.errors import StreamError
from mggr_edge.media.files.audio_tracks import AudioTracks
from mggr_edge.media.files.colour import (
    PIXEL_FORMAT,
    ColourConverter,
    TenBitPicture,
    VideoColour,
    tag_encoder,
)
from mggr_edge.media.files.kept import file_metadata, lost, needs_free_keys
from mggr_edge.media.files.pyav import file_url, import_pyav, stream_errors
from mggr_edge.media.files.video_reader import AudioPacket, TimedFrame, VideoLayout
from mggr_edge.media.files.written import Expected, read_back


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


REDIRECTED = f"gaze redirected by mggr-tf {__version__}"
"""Written into a file, so that nobody takes an altered gaze for a recorded one."""

ESTIMATED = f"gaze estimated, not altered, by mggr-tf {__version__}"
"""Written into a file that only has drawings in it."""

_FRAGMENT_S = 2.0
_FINE_TICKS = 90_000
_LONGEST_TICKS = 1 << 30
"""Of a frame in an MP4 file: FFmpeg changes times where a frame would last 2^31 ticks or more."""


class VideoWriter:
    """Writes frames and audio; made by `open_writer`.

    Attributes:
        notes: what was changed; complete once the writer is closed.
        losses: what of the source is not in the file; complete once the writer is closed.
    """

    def __init__(
        self, container: Any, layout: VideoLayout, *, path: Path, options: dict[str, str]
    ) -> None:
        self._container, self._layout, self._path = container, layout, path
        self._converter = ColourConverter(layout.colour)
        self._video = self._add_video()
        self._expected = Expected()
        self._audio = AudioTracks(container, layout.audio, options, expected=self._expected)
        self._last: TimedFrame | None = None
        self._shown: Any = None
        self._keyed_s = -float("inf")
        self.notes: tuple[str, ...] = ()
        self.losses: tuple[str, ...] = ()
        container.start_encoding()

    def write(self, picture: NDArray[np.uint8] | TenBitPicture, at: TimedFrame) -> None:
        """Writes a frame at the time of the one that it was made from.

        Args:
            picture: of the layout's size; [H, W, 3] uint8 RGB, or the stored values of a video
                that is written in 10 bits.
            at: the frame that was read.
        """
        frame = self._frame_of(picture)
        self._bridge(at.pts)
        frame.pts, frame.time_base = at.pts, self._layout.time_base
        if at.time_s - self._keyed_s >= _FRAGMENT_S:
            # By time: the nominal rate of a live source, or of uneven frames, is not theirs.
            frame.pict_type = import_pyav().video.frame.PictureType.I
            self._keyed_s = at.time_s
        self._last, self._shown = at, frame
        self._mux(self._video.encode(frame))

    def _frame_of(self, picture: NDArray[np.uint8] | TenBitPicture) -> Any:
        if isinstance(picture, TenBitPicture):
            if picture.size != self._layout.size or not self._layout.colour.is_ten_bit:
                raise ValueError(f"expected {self._layout.size}, got 10 bits of {picture.size}")
            return picture.frame()
        expected = (*self._layout.size, 3)
        if picture.shape != expected or picture.dtype != np.uint8:
            raise ValueError(f"expected uint8 {expected}, got {picture.dtype} {picture.shape}")
        if self._layout.colour.is_ten_bit:
            raise ValueError("expected the stored values of a 10-bit video, got 8-bit RGB")
        return self._converter.frame_from_rgb(_even(picture))

    def pass_audio(self, audio: AudioPacket) -> None:
        """Passes an encoded audio packet on; `AudioTracks` decides what becomes of it."""
        self._audio.write(audio.packet)

    def end_at(self, pts: int) -> None:
        """Sets the time until which the last frame is shown, in ticks of the layout's time base."""
        if self._last is not None:
            self._last = replace(self._last, duration=pts - self._last.pts)

    def finish(self) -> None:
        """Writes what the encoders still hold."""
        for packet in self._video.encode():
            last = self._last
            if last is not None and last.duration is not None and packet.pts == last.pts:
                # The others last until the next one; of this one the encoder can only guess.
                packet.duration = last.duration
            self._mux([packet])
        self._audio.finish()

    def read_back(self, temporary: Path) -> None:
        """Checks the closed file and fills `notes` and `losses`.

        Raises:
            StreamError: the file does not end as it was written.
        """
        layout, tracks = self._layout, self._audio.streams
        indices = {source: stream.index for source, stream in tracks.items()}
        with read_back(temporary, self._expected, path=self._path) as container:
            there = {source: container.streams[index] for source, index in indices.items()}
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
        """Repeats the last frame within a gap that is too long for one frame of an MP4 file."""
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
    """Takes what a `VideoWriter` takes, and keeps nothing."""

    def write(self, picture: NDArray[np.uint8] | TenBitPicture, at: TimedFrame) -> None:
        """Drops a frame."""

    def pass_audio(self, audio: AudioPacket) -> None:
        """Drops a piece of sound."""


@contextmanager
def open_writer(
    temporary: Path, layout: VideoLayout, *, path: Path, comment: str = REDIRECTED
) -> Iterator[VideoWriter]:
    """Opens a video to be written; on leaving without an error it is finished.

    4:2:0 has even sizes only: an odd last row or column is doubled, so
    that no pixel is lost.

    Args:
        temporary: where it is written; its suffix says the container.
        layout: of the video that was read.
        path: what errors name: the file that the temporary one will become.
        comment: what its metadata say of it, behind a comment that it had.

    Raises:
        StreamError: writing failed, or the finished file does not end as it was written.
    """
    av = import_pyav()
    # Flushed, because a fragment that waits in a buffer does not survive either.
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


def is_padded(layout: VideoLayout) -> bool:
    """Whether a row or column must be doubled to make the size even."""
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
        notes.append(f"{width} x {height} became {wide} x {high}, because 4:2:0 needs even sizes")
    if layout.colour.read_format is not None:
        bits = 10 if layout.colour.is_ten_bit else 8
        notes.append(f"{layout.colour.read_format} became 4:2:0 of {bits} bits")
    return tuple(notes)


def _mp4_options(layout: VideoLayout) -> dict[str, str]:
    free_keys = "+use_metadata_tags" if needs_free_keys(layout.metadata) else ""
    # MP4 counts in whole parts of a second; a base of 1001/30000 s needs 30000 of them. The movie's
    # own parts state when a track begins: a multiple keeps the picture's start exact, and at least
    # 90000 of them keep that of the audio.
    ticks = layout.time_base.denominator
    return {
        "movflags": f"frag_keyframe+delay_moov{free_keys}",
        "video_track_timescale": str(ticks),
        "movie_timescale": str(ticks * ceil(_FINE_TICKS / ticks)),
    }
