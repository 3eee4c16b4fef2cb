"""Verified writing of files: check for a video before its rename, and write and copy functions.

FFmpeg's MP4 muxer does not report an error of its last write, for example on a full disk. It
reports errors of earlier writes, so the check reads only the end of the file: the packets from the
last keyframe on, and the headers of all boxes. The check takes tens of milliseconds for a video of
any length.

References:
    ISO/IEC 14496-12 (ISO base media file format): boxes of size, type and content.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from mggr_edge.errors import StreamError
from mggr_edge.media.files.pyav import closed_for_good, file_url, import_pyav, stream_errors

_HEADER, _LARGE = struct.Struct(">I4s"), struct.Struct(">Q")
_SIZE_FOLLOWS, _UP_TO_THE_END = 1, 0


@dataclass(frozen=True)
class Box:
    """A box of an ISO base media file and its position.

    Attributes:
        kind: four-character type of the box.
        content: offset of the first byte of its content in the file.
        end: offset of the first byte after the box.
    """

    kind: bytes
    content: int
    end: int


def boxes(file: IO[bytes], within: Box | None = None) -> Iterator[Box]:
    """Yield the boxes of a file, or those inside a box, and stop at the first truncated box.

    Args:
        file: opened file; its position is changed.
        within: the box whose inner boxes are read; None for the whole file.
    """
    length = file.seek(0, os.SEEK_END) if within is None else within.end
    place = 0 if within is None else within.content
    while place + _HEADER.size <= length:
        file.seek(place)
        size, kind = _HEADER.unpack(file.read(_HEADER.size))
        content = place + _HEADER.size
        if size == _SIZE_FOLLOWS and content + _LARGE.size <= length:
            (size,) = _LARGE.unpack(file.read(_LARGE.size))
            content += _LARGE.size
        elif size == _UP_TO_THE_END and within is None:
            size = length - place
        if place + size < content or place + size > length:
            return
        place += size
        yield Box(kind, content, place)


def cut_to_whole_fragments(path: Path) -> bool:
    """Truncate a file after its last complete fragment.

    Args:
        path: path of a fragmented MP4 or QuickTime file.

    Returns:
        Whether the file has a complete fragment; otherwise the file is left unchanged.
    """
    with path.open("r+b") as file:
        ends = [box.end for box in boxes(file) if box.kind == b"mdat"]
        if ends:
            file.truncate(ends[-1])
    return bool(ends)


def is_whole(path: Path) -> bool:
    """Return whether a file consists only of complete boxes, without data after the last box."""
    with path.open("rb") as file:
        ends = [box.end for box in boxes(file)]
        return bool(ends) and ends[-1] == file.seek(0, os.SEEK_END)


_ROUNDING_S = Fraction(1, 1000)
_NEVER = Fraction(-(1 << 62))


@dataclass
class Expected:
    """Summary of the packets that were passed to the muxer.

    If the first times are negative, the muxer may shift all times to later times. It never shifts
    them to earlier times.

    Attributes:
        keyed_s: time of the last keyframe in seconds.
        frames: number of video packets from the last keyframe on, including it.
        last_s: time of the last frame in seconds.
        audio_s: output's index of an audio track -> (time, duration) of its last packet, in
            seconds.
    """

    keyed_s: Fraction = Fraction(0)
    frames: int = 0
    last_s: Fraction = _NEVER
    audio_s: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)

    def note(self, packet: Any, stream: Any) -> None:
        """Add a packet to the summary, before it is muxed.

        Args:
            packet: encoded PyAV packet.
            stream: stream of the output.
        """
        if packet.pts is None or packet.time_base is None:
            return
        time_s = packet.pts * packet.time_base
        if stream.type == "audio":
            self.audio_s[stream.index] = time_s, (packet.duration or 0) * packet.time_base
            return
        if packet.is_keyframe:
            self.keyed_s, self.frames = time_s, 0
        self.frames += 1
        self.last_s = max(self.last_s, time_s)


@contextmanager
def read_back(temporary: Path, expected: Expected, *, path: Path) -> Iterator[Any]:
    """Check the end of a completed file against the written packets, and yield its PyAV container.

    Args:
        temporary: path of the completed file.
        expected: summary of the packets that were written to it.
        path: final path of the file, for error messages.

    Raises:
        StreamError: the end of the file is missing or cannot be read.
    """
    with stream_errors(path, "written"):
        container = import_pyav().open(file_url(temporary), metadata_errors="replace")
    with closed_for_good(container):
        if temporary.suffix.lower() != ".mkv" and not is_whole(temporary):
            raise _incomplete(path, "its last fragment is incomplete", code="fragment-incomplete")
        with stream_errors(path, "written"):
            _check_end(container, expected, path=path)
        yield container


def _check_end(container: Any, expected: Expected, *, path: Path) -> None:
    if not expected.frames:
        return
    video = container.streams.video[0]
    if expected.keyed_s > 0:
        container.seek(int(expected.keyed_s / video.time_base), stream=video)
    times_s, audio_s = [], dict[int, Fraction]()
    for packet in container.demux():
        if packet.pts is None or packet.size == 0:
            continue
        if packet.is_corrupt:
            raise _incomplete(path, "its last packet is incomplete", code="packet-incomplete")
        time_s = packet.pts * packet.time_base
        if packet.stream.type == "audio":
            end_s = time_s + (packet.duration or 0) * packet.time_base
            audio_s[packet.stream.index] = max(end_s, audio_s.get(packet.stream.index, end_s))
        elif packet.stream.index == video.index:
            times_s.append(time_s)
    # A container rounds times to its own ticks, which are milliseconds in Matroska.
    tick_s = 2 * max(video.time_base, _ROUNDING_S)
    last_s = max(times_s, default=_NEVER)
    # The demuxer's keyframe flags are not used, because it also sets them on other intra frames.
    frames = sum(time_s >= expected.keyed_s - tick_s for time_s in times_s)
    if frames < expected.frames or last_s < expected.last_s - tick_s:
        raise _incomplete(
            path,
            f"after the last keyframe, {expected.frames} frames up to "
            f"{float(expected.last_s):.2f} s were written, but it contains {frames} frames up to "
            f"{max(0.0, float(last_s)):.2f} s",
            code="frames-missing",
            expected=expected.frames,
            found=frames,
        )
    for index, (wanted_s, length_s) in expected.audio_s.items():
        if wanted_s > expected.keyed_s + tick_s:
            got_s = audio_s.get(index, _NEVER)
            if got_s < wanted_s - length_s - tick_s:
                raise _incomplete(
                    path,
                    f"its audio track {index} is incomplete",
                    code="audio-incomplete",
                    track=index,
                )


def _incomplete(path: Path, problem: str, *, code: str, **fields: object) -> StreamError:
    return StreamError(
        f"{path} cannot be written completely: {problem}; free space on its disk",
        code=code,
        path=path,
        **fields,
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, read it back and compare its content.

    Raises:
        StreamError: the file cannot be written, for example on a full disk; the incomplete file is
            deleted.
    """
    try:
        # cv2.imwrite and Image.save are not used, because they do not support every file name on
        # every system.
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        is_whole = path.read_bytes() == content
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StreamError(
            f"{path} cannot be written: {error.strerror}",
            code="file-unwritable",
            path=path,
            reason=error.strerror,
        ) from error
    _refuse_unless(path, is_whole=is_whole)


def copy_whole(source: Path, path: Path) -> None:
    """Copy a file, and compare the copy with the source.

    Raises:
        StreamError: the file cannot be copied, for example to a full disk; the incomplete copy is
            deleted.
    """
    try:
        shutil.copyfile(source, path)
        is_whole = filecmp.cmp(source, path, shallow=False)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StreamError(
            f"{source} cannot be copied to {path}: {error.strerror}",
            code="file-copy-failed",
            path=path,
            source=source,
            reason=error.strerror,
        ) from error
    _refuse_unless(path, is_whole=is_whole)


def _refuse_unless(path: Path, *, is_whole: bool) -> None:
    if not is_whole:
        path.unlink(missing_ok=True)
        raise StreamError(
            f"the content of {path} differs from the written data; check the disk",
            code="file-content-wrong",
            path=path,
        )
