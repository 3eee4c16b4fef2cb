"""Write files and verify their content.

The module contains functions that write or copy a file, and a check for completed videos. The check
runs before a video gets its final name. The check is necessary, because FFmpeg's MP4 muxer does not
report an error of its last write, for example on a full disk. The muxer reports errors of earlier
writes. Therefore, the check reads only the headers of all boxes, and the packets from the last
keyframe to the end of the file. The check takes tens of milliseconds for a video of any length.

References:
    ISO/IEC 14496-12 (ISO base media file format): a file consists of boxes. Each box has a size, a
    type and content.
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
from mggr_edge.media.files.pyav import closed_for_good, open_container, stream_errors

_HEADER, _LARGE = struct.Struct(">I4s"), struct.Struct(">Q")
_SIZE_FOLLOWS, _UP_TO_THE_END = 1, 0


@dataclass(frozen=True)
class Box:
    """Type and position of a box in an ISO base media file.

    Attributes:
        kind: type of the box, a code of four characters.
        content: offset of the first byte of the content of the box, from the start of the file.
        end: offset of the first byte after the box, from the start of the file.
    """

    kind: bytes
    content: int
    end: int


def boxes(file: IO[bytes], within: Box | None = None) -> Iterator[Box]:
    """Yield the boxes of a file, or the boxes inside another box.

    The function stops at the first truncated box.

    Args:
        file: opened file. The function changes the read position of the file.
        within: the box whose inner boxes are read. `None` selects the boxes of the file itself.
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
        `True` if the file has a complete fragment. Otherwise `False`, and the file is not changed.
    """
    with path.open("r+b") as file:
        ends = [box.end for box in boxes(file) if box.kind == b"mdat"]
        if ends:
            file.truncate(ends[-1])
    return bool(ends)


def is_whole(path: Path) -> bool:
    """Return whether a file contains only complete boxes, and no data after the last box."""
    with path.open("rb") as file:
        ends = [box.end for box in boxes(file)]
        return bool(ends) and ends[-1] == file.seek(0, os.SEEK_END)


_ROUNDING_S = Fraction(1, 1000)
_NEVER = Fraction(-(1 << 62))


@dataclass
class Expected:
    """Summary of the packets that were passed to the muxer.

    If the first times are negative, the muxer may increase all times by the same amount. The muxer
    never decreases times.

    Attributes:
        keyed_s: time of the last keyframe in seconds.
        frames: number of video packets from the last keyframe to the end. The keyframe is included.
        last_s: time of the last frame in seconds.
        audio_s: dictionary from the index of an audio track in the output to the last packet of
            the track. A value is (time, duration) of the packet in seconds.
    """

    keyed_s: Fraction = Fraction(0)
    frames: int = 0
    last_s: Fraction = _NEVER
    audio_s: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)

    def note(self, packet: Any, stream: Any) -> None:
        """Add a packet to the summary. Call this method before the packet is passed to the muxer.

        Args:
            packet: encoded PyAV packet.
            stream: stream of the output to which the packet belongs.
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
    """Check that the end of a completed file contains the written packets.

    The context manager yields the PyAV container of the file, opened for reading.

    Args:
        temporary: path of the completed file.
        expected: summary of the packets that were written to the file.
        path: final path of the file, used in error messages.

    Raises:
        StreamError: the end of the file is missing or cannot be read.
    """
    with stream_errors(path, "written"):
        container = open_container(temporary)
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
    # A container rounds times to its own ticks. In Matroska, a tick is a millisecond.
    tick_s = 2 * max(video.time_base, _ROUNDING_S)
    last_s = max(times_s, default=_NEVER)
    # The keyframe flags of the demuxer are not used. The demuxer also sets these flags for other
    # intra frames.
    frames = sum(time_s >= expected.keyed_s - tick_s for time_s in times_s)
    if frames < expected.frames or last_s < expected.last_s - tick_s:
        raise _incomplete(
            path,
            f"after the last keyframe, {expected.frames} frames up to "
            f"{float(expected.last_s):.2f} s were written, but the file contains {frames} frames "
            f"up to {max(0.0, float(last_s)):.2f} s",
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
        StreamError: the file cannot be written, for example on a full disk. The incomplete file is
            deleted.
    """
    try:
        # `cv2.imwrite` and `Image.save` are not used. On some systems, these functions do not
        # support all file names.
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
        StreamError: the file cannot be copied, for example to a full disk. The incomplete copy is
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
