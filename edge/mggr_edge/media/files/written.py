"""Writes files whole, and checks a written video before it gets its name.

FFmpeg's MP4 muxer does not report an error of its last write, such as a full disk. Errors of
earlier writes are reported, so only the end is read: the packets from the last keyframe on, and the
headers of all boxes. That takes tens of milliseconds, however long the video is.

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
    """A box and where it lies in its file, in bytes.

    Attributes:
        kind: its four letters.
        content: where its content begins.
        end: where it ends.
    """

    kind: bytes
    content: int
    end: int


def boxes(file: IO[bytes], within: Box | None = None) -> Iterator[Box]:
    """Yields the boxes of a file, or of a box, up to the first one that is cut off."""
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
    """Cuts a file behind its last whole fragment.

    Args:
        path: of a fragmented MP4 or QuickTime file.

    Returns:
        whether there is one; if not, the file is left as it is.
    """
    with path.open("r+b") as file:
        ends = [box.end for box in boxes(file) if box.kind == b"mdat"]
        if ends:
            file.truncate(ends[-1])
    return bool(ends)


def is_whole(path: Path) -> bool:
    """Whether a file consists of whole boxes, with nothing behind the last one."""
    with path.open("rb") as file:
        ends = [box.end for box in boxes(file)]
        return bool(ends) and ends[-1] == file.seek(0, os.SEEK_END)


_ROUNDING_S = Fraction(1, 1000)
_NEVER = Fraction(-(1 << 62))


@dataclass
class Expected:
    """What was given to the muxer; times in seconds.

    The muxer may move all times to later ones, where the first are negative; never to earlier ones.

    Attributes:
        keyed_s: time of the last keyframe.
        frames: packets of video from the last keyframe on.
        last_s: time of the last frame.
        audio_s: output's index of an audio track -> (time of its last packet, its duration).
    """

    keyed_s: Fraction = Fraction(0)
    frames: int = 0
    last_s: Fraction = _NEVER
    audio_s: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)

    def note(self, packet: Any, stream: Any) -> None:
        """Takes note of a packet that is about to be muxed.

        Args:
            packet: PyAV's, encoded.
            stream: the output's stream.
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
    """Checks that a finished file ends where it should; yields PyAV's container of it.

    Args:
        temporary: the file.
        expected: what was written to it.
        path: the file's future name, for errors.

    Raises:
        StreamError: its end is missing or cannot be read.
    """
    with stream_errors(path, "written"):
        container = import_pyav().open(file_url(temporary), metadata_errors="replace")
    with closed_for_good(container):
        if temporary.suffix.lower() != ".mkv" and not is_whole(temporary):
            raise _incomplete(path, "its last fragment is cut off")
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
            raise _incomplete(path, "its last packet is cut off")
        time_s = packet.pts * packet.time_base
        if packet.stream.type == "audio":
            end_s = time_s + (packet.duration or 0) * packet.time_base
            audio_s[packet.stream.index] = max(end_s, audio_s.get(packet.stream.index, end_s))
        elif packet.stream.index == video.index:
            times_s.append(time_s)
    # A container counts in ticks of its own, a millisecond in Matroska.
    tick_s = 2 * max(video.time_base, _ROUNDING_S)
    last_s = max(times_s, default=_NEVER)
    # Not by the demuxer's keyframe flags: it also sets them on other intra frames.
    frames = sum(time_s >= expected.keyed_s - tick_s for time_s in times_s)
    if frames < expected.frames or last_s < expected.last_s - tick_s:
        raise _incomplete(
            path,
            f"{expected.frames} frames up to {float(expected.last_s):.2f} s were written at last, "
            f"{frames} up to {max(0.0, float(last_s)):.2f} s are there",
        )
    for index, (wanted_s, length_s) in expected.audio_s.items():
        if wanted_s > expected.keyed_s + tick_s:
            got_s = audio_s.get(index, _NEVER)
            if got_s < wanted_s - length_s - tick_s:
                raise _incomplete(path, f"its audio track {index} is cut off")


def _incomplete(path: Path, what: str) -> StreamError:
    return StreamError(
        f"{path} cannot be written: {what} when the file is read back; free space on its disk"
    )


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file and compares what is there with what was to be written.

    Raises:
        StreamError: it cannot be written, such as on a full disk; nothing is left of it.
    """
    try:
        # Not cv2.imwrite or Image.save: they cannot write to every file name on every system.
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        is_whole = path.read_bytes() == content
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StreamError(f"{path} cannot be written: {error.strerror}") from error
    _refuse_unless(path, is_whole=is_whole)


def copy_whole(source: Path, path: Path) -> None:
    """Copies a file and compares the two.

    Raises:
        StreamError: it cannot be copied, such as onto a full disk; nothing is left of it.
    """
    try:
        shutil.copyfile(source, path)
        is_whole = filecmp.cmp(source, path, shallow=False)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StreamError(f"{source} cannot be copied to {path}: {error.strerror}") from error
    _refuse_unless(path, is_whole=is_whole)


def _refuse_unless(path: Path, *, is_whole: bool) -> None:
    if not is_whole:
        path.unlink(missing_ok=True)
        raise StreamError(f"{path} does not hold what was written to it; check the disk")
