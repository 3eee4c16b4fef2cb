"""Read video files: upright RGB frames with their times, and unchanged audio packets.

This module reports damage as an error and never conceals it. FFmpeg, in contrast, fills the missing
parts of a damaged frame with earlier content. FFmpeg also treats the end of a truncated file as a
normal end. Therefore, this module raises an error in two cases:

- FFmpeg marks a packet or a frame as corrupt.
- The file ends earlier than its header states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.colour import ColourConverter, VideoColour, colour_of
from mggr_edge.media.files.exif import UPRIGHT, orientation_of_display_matrix, upright
from mggr_edge.media.files.frame_times import LeadingTimes, SlotTimes, track_end_s
from mggr_edge.media.files.kept import (
    NO_EXTRAS,
    Extras,
    extras_of,
    is_cover,
    other_streams,
    side_data_losses,
)
from mggr_edge.media.files.pyav import (
    Deinterlacer,
    closed_for_good,
    import_pyav,
    open_container,
    stream_errors,
)
from mggr_edge.media.files.ten_bit import TenBitPicture
from mggr_edge.media.files.timeline import Timeline

_INDEXED_FORMATS = ("mp4", "matroska")
"""Containers whose header states the duration.

For other containers, FFmpeg only estimates the duration."""

_ONLY_VIDEOS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,avi,mpeg,mpegts,asf,flv,ogg,h264,hevc,mpegvideo,m4v,ivf",
}
"""FFmpeg options that allow only local files of the listed formats.

The list contains the formats of `VIDEO_SUFFIXES`, and raw video streams without a container.
"""

_MOST_PIXELS = 1 << 26
"""Maximum number of pixels per frame: twice the pixels of an 8K frame.

The limit is needed because a decoder keeps about twelve frames in memory."""

_DURATION_TOLERANCE_S = 0.5


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame.

    Attributes:
        rgb: upright pixels, [H, W, 3] uint8.
        pts: presentation time in ticks of the video's time base. Each frame has a later time than
            the frame before.
        duration: display duration in ticks. `None` means that the file does not state the duration.
        time_s: `pts` in seconds.
        original: stored values of an HDR or 10-bit frame. For an HDR or 10-bit frame, `rgb` is an
            8-bit SDR view. `None` means that the frame is neither HDR nor 10-bit.
    """

    rgb: NDArray[np.uint8]
    pts: int
    duration: int | None
    time_s: float
    original: TenBitPicture | None = None


@dataclass(frozen=True)
class AudioPacket:
    """An encoded audio packet of the file, without any change.

    Attributes:
        packet: PyAV packet. `packet.stream` is the audio track to which the packet belongs.
    """

    packet: Any


@dataclass(frozen=True)
class VideoLayout:
    """Properties of a video that a writer needs to write an equivalent video.

    Attributes:
        size: (height, width) of the first frame in upright orientation, in pixels. Later frames may
            have another size.
        time_base: duration of a tick in seconds.
        rate: average frame rate, in frames per second.
        pixel_aspect: width of a pixel divided by its height, in upright orientation. `None` means
            that the file does not state the aspect.
        colour: interpretation of the YUV values.
        audio: PyAV audio streams.
        metadata: metadata of the file.
        left_out: names of the streams that the reader ignores, for example subtitles.
        frames: expected number of frames. `None` means that the number is unknown.
        extras: track metadata, chapters and flags.
    """

    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    pixel_aspect: Fraction | None
    colour: VideoColour
    audio: tuple[Any, ...]
    metadata: dict[str, str]
    left_out: tuple[str, ...]
    frames: int | None
    extras: Extras = NO_EXTRAS

    def widened(self, columns: int) -> VideoLayout:
        """Return a copy of this layout with the frame width multiplied by `columns`."""
        height, width = self.size
        return replace(self, size=(height, columns * width))


@dataclass(frozen=True)
class Video:
    """An opened video.

    Attributes:
        layout: size, rate, colour and other properties of the video.
        items: frames and audio packets in the order of the file. The iterator can be used only
            once, while the video is open.
        notes: descriptions of the changes that the reader made to the frames. The list is complete
            after all items are read.
        losses: names of side data that a writer cannot keep. Side data are additional data of a
            frame, for example closed captions. The set is complete after all items are read.
    """

    layout: VideoLayout
    items: Iterator[TimedFrame | AudioPacket]
    notes: list[str] = field(default_factory=list)
    losses: set[str] = field(default_factory=set)


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a video file.

    Raises:
        MissingPackageError: PyAV is not installed.
        StreamError: the file contains no video or is damaged. The iteration over the items can
            also raise this error.
    """
    with stream_errors(path, "read"):
        # The `file:` URL prevents FFmpeg from treating the name as an address. Playlist formats are
        # excluded, because FFmpeg would open the files and addresses in a playlist.
        container = open_container(path, options=_ONLY_VIDEOS)
    with closed_for_good(container):
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None or is_cover(stream):
            raise StreamError(
                f"{path} contains no video stream that can be decoded",
                code="no-video-stream",
                path=path,
            )
        _check_size(path, stream.codec_context.height, stream.codec_context.width)
        stream.codec_context.options = {"max_pixels": str(_MOST_PIXELS)}
        stream.thread_type = "AUTO"
        decoder = _Decoder(path, container, stream)
        items = decoder.items()
        waiting = []  # audio packets before the first frame
        for item in items:
            waiting.append(item)
            if isinstance(item, TimedFrame):
                break
        else:
            raise StreamError(
                f"{path} contains no frame that can be decoded", code="no-video-frame", path=path
            )
        yield Video(decoder.layout(item), chain(waiting, items), decoder.notes, decoder.losses)


def _check_size(path: Path, height: int, width: int) -> None:
    if height * width > _MOST_PIXELS:
        raise StreamError(
            f"{path} has frames of {width} x {height} pixels; expected at most "
            f"{_MOST_PIXELS // 1_000_000} megapixels per frame",
            code="video-frame-too-large",
            path=path,
            width=width,
            height=height,
        )


class _Decoder:
    def __init__(self, path: Path, container: Any, stream: Any) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._time_base = stream.time_base or 1 / self._rate
        self._step = max(1, round(1 / (self._rate * self._time_base)))
        self._timeline = Timeline(container, stream)
        self._leading = LeadingTimes(container, step=self._step)
        self._orientation: int | None = None
        self._colour: VideoColour | None = None
        self._converter: ColourConverter | None = None
        self.notes: list[str] = []
        self.losses: set[str] = set()
        self._deinterlacer = Deinterlacer(self._time_base)
        self._slots = SlotTimes() if container.format.name == "avi" else None
        self._durations: dict[int, int] = {}
        self._decoded_last: int | None = None
        self._shown_last: int | None = None
        self._last_pts: int | None = None
        self._count = 0
        self._end_s = 0.0

    def items(self) -> Iterator[TimedFrame | AudioPacket]:
        with stream_errors(self._path, "read"):
            for packet in self._timeline.packets(self._note_end):
                if packet.is_corrupt:
                    raise self._damaged("truncated or damaged", code="video-packet-damaged")
                if packet.stream.type == "audio" and packet.size:
                    yield AudioPacket(packet)
                elif packet.stream.index == self._stream.index:
                    yield from self._frames(packet)
            yield from self._timed(self._deinterlacer.frames(None))
        self._check_whole()

    def layout(self, first: TimedFrame) -> VideoLayout:
        assert self._orientation is not None
        assert self._colour is not None
        streams = self._container.streams
        aspect = self._stream.sample_aspect_ratio
        if aspect and self._orientation >= 5:
            aspect = 1 / aspect
        return VideoLayout(
            size=(first.rgb.shape[0], first.rgb.shape[1]),
            time_base=self._time_base,
            rate=self._rate,
            pixel_aspect=aspect or None,
            colour=self._colour,
            audio=tuple(streams.audio),
            metadata=dict(self._container.metadata),
            left_out=other_streams(self._container, self._stream),
            frames=self._expected_frames(),
            extras=extras_of(self._container, self._stream),
        )

    def _frames(self, packet: Any) -> Iterator[TimedFrame]:
        if packet.pts is None:
            self._settle_last_duration()
        elif packet.duration:
            self._durations[packet.pts] = packet.duration
            self._decoded_last = packet.pts
            self._shown_last = max(packet.pts, self._shown_last or packet.pts)
        if self._slots is not None:
            self._slots.note(packet)
        for frame in self._decoded(packet):
            if frame.is_corrupt:
                raise self._damaged("damaged", code="video-frame-damaged")
            self.losses.update(side_data_losses(frame))
            if self._slots is not None:
                frame.pts = self._slots.pts(frame)
            yield from self._timed(self._deinterlacer.frames(frame))
        if self._deinterlacer.has_worked and not self.notes:
            self.notes.append("interlaced frames were deinterlaced to one frame each")

    def _decoded(self, packet: Any) -> Iterator[Any]:
        """Decode the frames of a packet.

        In AVI files, only `SlotTimes` determines the times of the frames.
        """
        if self._slots is not None:
            return iter(packet.decode())
        return self._leading.frames(packet)

    def _timed(self, frames: Iterator[Any]) -> Iterator[TimedFrame]:
        for frame in frames:
            duration = self._durations.pop(frame.pts, None)
            rgb = self._upright_rgb(frame)
            original = self._original(frame)
            pts = self._rising(frame.pts)
            self._count += 1
            yield TimedFrame(rgb, pts, duration, float(pts * self._time_base), original)

    def _settle_last_duration(self) -> None:
        """Set the duration of the last displayed frame, so that the frame ends with the track.

        All other frames end at the time of the next frame. In MP4, the last displayed frame may
        also be the last decoded frame. In this case, the duration in its packet is correct and is
        kept.
        """
        pts, is_mp4 = self._shown_last, "mp4" in self._container.format.name
        if pts is None or (is_mp4 and pts == self._decoded_last):
            return
        end_s = track_end_s(self._path, self._container, self._stream)
        length = 0 if end_s is None else round(end_s / self._time_base) - pts
        if length > 0:
            self._durations[pts] = length
        elif is_mp4:
            self._durations.pop(pts, None)

    def _upright_rgb(self, frame: Any) -> NDArray[np.uint8]:
        if self._orientation is None or self._converter is None:
            self._orientation = _orientation(self._path, frame)
            self._colour = colour_of(frame, self._stream.codec_context)
            self._converter = ColourConverter(self._colour)
        return upright(self._converter.rgb_from_frame(frame), self._orientation)

    def _original(self, frame: Any) -> TenBitPicture | None:
        assert self._orientation is not None
        assert self._converter is not None
        assert self._colour is not None
        if not self._colour.is_ten_bit:
            return None
        return self._converter.ten_bit_from_frame(frame, self._orientation)

    def _rising(self, pts: int | None) -> int:
        """Return the time of the next frame in ticks, always later than the last returned time.

        A frame without a time gets the last time plus one frame step. A frame whose time is not
        later than the last time gets the last time plus one tick.
        """
        if pts is None:
            pts = 0 if self._last_pts is None else self._last_pts + self._step
        elif self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        self._last_pts = pts
        return pts

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self._end_s = max(self._end_s, float(end))

    def _check_whole(self) -> None:
        duration, start = self._container.duration, self._container.start_time or 0
        if "matroska" in self._container.format.name:
            # In Matroska, the stated duration is the end time, even if the start time is not 0.
            start = 0
        if not duration or not any(n in self._container.format.name for n in _INDEXED_FORMATS):
            return
        promised_s = (start + duration) / 1e6
        if self._end_s < promised_s - _DURATION_TOLERANCE_S:
            raise StreamError(
                f"{self._path} is truncated: the file ends after {self._end_s:.1f} s, expected "
                f"{promised_s:.1f} s; copy the file again from its source",
                code="video-truncated",
                path=self._path,
                end_s=round(self._end_s, 1),
                expected_s=round(promised_s, 1),
            )

    def _expected_frames(self) -> int | None:
        if self._stream.frames:
            return int(self._stream.frames)
        duration = self._container.duration
        return max(1, round(duration / 1e6 * float(self._rate))) if duration else None

    def _damaged(self, state: str, *, code: str) -> StreamError:
        time_s = 0.0 if self._last_pts is None else float(self._last_pts * self._time_base)
        return StreamError(
            f"{self._path} is {state} after {time_s:.1f} s (frame {self._count}); copy the file "
            "again from its source, or encode the video again",
            code=code,
            path=self._path,
            time_s=round(time_s, 1),
            frame=self._count,
        )


def _orientation(path: Path, frame: Any) -> int:
    matrix = frame.side_data.get(import_pyav().sidedata.sidedata.Type.DISPLAYMATRIX)
    if matrix is None:
        return UPRIGHT
    try:
        return orientation_of_display_matrix(np.frombuffer(bytes(matrix), np.int32))
    except ValueError as error:
        raise StreamError(
            f"{path} has a display rotation that is not a multiple of 90 degrees; encode the video "
            "again without this rotation",
            code="rotation-unsupported",
            path=path,
        ) from error
