"""H.264 and H.265 video files that keep time, sound and metadata of what was read.

The file is written in fragments of two seconds, so that it plays up to the
last one even if the program is killed. Its index waits for the first fragment
(`delay_moov`), because only then the start time of the sound is known, which
often lies before zero, and no track has to be shifted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.streams.colour import ColourConverter, tag_encoder
from mggr_edge.streams.encoding import add_video_stream, encoding_of
from mggr_edge.streams.pyav import import_pyav, stream_errors
from mggr_edge.streams.ten_bit import TenBitPicture
from mggr_edge.streams.video_reader import AudioPacket, TimedFrame, VideoLayout
from mggr_edge.version import __version__

REDIRECTED = f"gaze redirected by mggr-tf {__version__}"
"""Written into a file, so that nobody takes an altered gaze for a recorded one."""

ESTIMATED = f"gaze estimated, not altered, by mggr-tf {__version__}"
"""Written into a file that only has drawings in it."""

_FRAGMENT_S = 2.0
_CONTAINER_KEYS = ("major_brand", "minor_version", "compatible_brands", "encoder")
"""Metadata that speak of the old container, not of the video."""


class VideoWriter:
    """Writes frames and sound; made by `open_writer`."""

    def __init__(self, container: Any, layout: VideoLayout, *, path: Path) -> None:
        self._container, self._layout, self._path = container, layout, path
        self._converter = ColourConverter(layout.colour)
        self._video = self._add_video()
        self._audio = {s.index: self._add_audio(s) for s in layout.audio}
        self._last: TimedFrame | None = None
        self._keyed_s = -float("inf")
        self._write_header()

    def write(self, picture: NDArray[np.uint8] | TenBitPicture, at: TimedFrame) -> None:
        """Writes a frame at the time of the one that it was made from.

        Args:
            picture: of the layout's size; [H, W, 3] uint8 RGB, or the stored values of a video
                that is written in 10 bits.
            at: the frame that was read.
        """
        frame = self._frame_of(picture)
        frame.pts, frame.time_base = at.pts, self._layout.time_base
        if at.time_s - self._keyed_s >= _FRAGMENT_S:
            # By time: the nominal rate of a live source, or of uneven frames, is not theirs.
            frame.pict_type = import_pyav().video.frame.PictureType.I
            self._keyed_s = at.time_s
        self._last = at
        self._container.mux(self._video.encode(frame))

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
        """Passes a piece of sound on as it is."""
        track = self._audio[audio.packet.stream.index]
        audio.packet.stream = track
        self._container.mux(audio.packet)

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        for packet in self._video.encode():
            last = self._last
            if last is not None and last.duration is not None and packet.pts == last.pts:
                # The others last until the next one; of this one the encoder can only guess.
                packet.duration = last.duration
            self._container.mux(packet)

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
        return stream

    def _add_audio(self, source: Any) -> Any:
        if self._path.suffix.lower() == ".mp4" and source.name.startswith("pcm_"):
            raise self._unfit_sound()  # FFmpeg takes it, and leaves a file that nobody can read
        try:
            track = self._container.add_stream_from_template(source)
        except ValueError as error:
            raise self._unfit_sound() from error
        track.metadata.update(source.metadata)
        return track

    def _write_header(self) -> None:
        try:
            self._container.start_encoding()
        except ValueError as error:  # FFmpeg's "invalid argument" is one, too
            if not self._audio:
                raise
            raise self._unfit_sound() from error

    def _unfit_sound(self) -> StreamError:
        kinds = ", ".join(stream.name or "unknown" for stream in self._layout.audio)
        return StreamError(
            f"{self._path.suffix} cannot hold this video's sound ({kinds}); "
            "name an OUTPUT that ends in .mkv"
        )


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
        StreamError: the container cannot hold the sound, or writing failed.
    """
    av = import_pyav()
    # Flushed, because a fragment that waits in a buffer does not survive either.
    options = {"flush_packets": "1"}
    if temporary.suffix.lower() != ".mkv":
        options |= _mp4_options(layout.time_base)
    with (
        stream_errors(path, "written"),
        av.open(str(temporary), "w", options=options) as container,
    ):
        container.metadata.update(_metadata(layout.metadata, comment))
        writer = VideoWriter(container, layout, path=path)
        yield writer
        writer.finish()


def is_padded(layout: VideoLayout) -> bool:
    """Whether a row or column must be doubled to make the size even."""
    return any(length % 2 for length in layout.size)


def _even(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return rgb
    return cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def _mp4_options(time_base: Fraction) -> dict[str, str]:
    # MP4 counts in whole parts of a second; a base of 1001/30000 s needs 30000 of them.
    return {
        "movflags": "frag_keyframe+delay_moov",
        "video_track_timescale": str(time_base.denominator),
    }


def _metadata(source: dict[str, str], added: str) -> dict[str, str]:
    kept = {k: v for k, v in source.items() if k.lower() not in _CONTAINER_KEYS}
    comment = next((kept.pop(k) for k in list(kept) if k.lower() == "comment"), "")
    return {**kept, "comment": f"{comment}; {added}" if comment else added}
