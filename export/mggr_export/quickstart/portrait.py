"""Render the portrait video: a moving public-domain photograph of an astronaut [1].

The photograph is part of scikit-image. The astronaut looks into the lens. Each frame shows the
photograph after a similarity transform (pan, zoom and tilt). The transform depends only on the
time. The position of each point of the photograph in a frame is therefore known exactly.

References:
    [1] NASA, portrait of Eileen Collins, 1993; public domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.progress import Progress
from mggr_edge.media.files.colour import ColourConverter, VideoColour, tag_encoder
from mggr_edge.media.files.pyav import file_url, import_pyav, stream_errors
from mggr_edge.media.files.written import Expected, read_back

SIZE_PX = 640
RATE = 25
SECONDS = 8.0
FRAMES = round(SECONDS * RATE)

_FACE_MIDDLE = (224.0, 112.0)
_ZOOM = (3.6, 4.3)
"""Minimum and maximum zoom, in frame pixels per photograph pixel.

An eye is 65 to 77 pixels wide in the frames.
"""

_PAN_PX = (7.0, 5.0)
_TILT_DEG = 4.0


@dataclass(frozen=True)
class Pose:
    """Position of the photograph in a frame.

    Attributes:
        middle: Point (x, y) of the photograph that is in the middle of the frame.
        zoom: Number of frame pixels per pixel of the photograph.
        tilt_deg: Rotation of the picture in degrees. Positive values rotate the visible picture
            clockwise.
    """

    middle: tuple[float, float]
    zoom: float
    tilt_deg: float

    def frame_from_photo(self) -> NDArray[np.float64]:
        """Return the 2x3 similarity matrix that maps photograph points to frame points."""
        tilt = np.radians(self.tilt_deg)
        turn = self.zoom * np.array(
            [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]], np.float64
        )
        centre = np.full(2, (SIZE_PX - 1) / 2)
        return np.hstack([turn, (centre - turn @ np.asarray(self.middle))[:, None]])


def pose_at(time_s: float) -> Pose:
    """Return the pose at the given time in seconds.

    The pose follows slow waves with three different periods, so no pose is repeated.
    """
    t = 2 * np.pi * time_s / SECONDS
    nearest, farthest = max(_ZOOM), min(_ZOOM)
    return Pose(
        middle=(
            _FACE_MIDDLE[0] + _PAN_PX[0] * float(np.sin(t)),
            _FACE_MIDDLE[1] + _PAN_PX[1] * float(np.sin(1.5 * t + 0.6)),
        ),
        zoom=farthest + (nearest - farthest) * float(0.5 - 0.5 * np.cos(t)),
        tilt_deg=_TILT_DEG * float(np.sin(1.3 * t + 2.0)),
    )


def photograph() -> NDArray[np.uint8]:
    """Return the photograph, [512, 512, 3] uint8 RGB."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut())


def portrait_frame(photo: NDArray[np.uint8], time_s: float) -> NDArray[np.uint8]:
    """Return one frame, [SIZE_PX, SIZE_PX, 3] uint8 RGB.

    The photograph is enlarged by cubic interpolation.
    """
    return cv2.warpAffine(
        photo, pose_at(time_s).frame_from_photo(), (SIZE_PX, SIZE_PX), flags=cv2.INTER_CUBIC
    )


def portrait_frames(*, frames: int = FRAMES) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of the video in order."""
    photo = photograph()
    for number in range(frames):
        yield portrait_frame(photo, number / RATE)


def write_portrait(path: Path, *, progress: Progress, frames: int = FRAMES) -> None:
    """Write the portrait video as an H.264 file.

    Raises:
        StreamError: If the file cannot be written.
    """
    with (
        clip_writer(path, size=(SIZE_PX, SIZE_PX), rate=Fraction(RATE)) as write,
        progress("rendering the portrait clip", frames) as advance,
    ):
        for frame in portrait_frames(frames=frames):
            write(frame)
            advance()


SHARP_CRF = 15
"""Constant rate factor of x264 for videos that are processed further."""

SMALL_CRF = 23
"""Constant rate factor of x264 for videos that are embedded in a report."""

_BT709, _SWSCALE_BT709 = 1, 1
_COLOUR = VideoColour(
    matrix=_SWSCALE_BT709,
    is_full_range=False,
    matrix_tag=_BT709,
    primaries_tag=_BT709,
    transfer_tag=_BT709,
)

WriteFrame = Callable[[NDArray[np.uint8]], None]


@contextmanager
def clip_writer(
    path: Path,
    *,
    size: tuple[int, int],
    rate: Fraction,
    crf: int = SHARP_CRF,
    comment: str | None = None,
) -> Iterator[WriteFrame]:
    """Yield a function that writes one frame per call.

    The complete file appears when the context exits. The index is at the start of the file, so a
    browser can start the playback during the download.

    Args:
        path: Path of the `.mp4` file to write. An existing file is replaced.
        size: (height, width) in pixels. Both values are even.
        rate: Number of frames per second.
        crf: Constant rate factor of x264. Smaller values mean better quality.
        comment: Comment in the file's metadata. With `None`, no comment is written.

    Raises:
        StreamError: If the file cannot be written.
    """
    height, width = size
    with (
        atomic_file(path, force=True) as temporary,
        _written(temporary, path) as (container, expected),
    ):
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        tag_encoder(stream.codec_context, _COLOUR)
        writer = _FrameWriter(container, stream, size, expected)
        yield writer.write
        writer.finish()


@contextmanager
def _written(temporary: Path, path: Path) -> Iterator[tuple[Any, Expected]]:
    expected, options = Expected(), {"movflags": "faststart"}
    with (
        stream_errors(path, "written"),
        import_pyav().open(file_url(temporary), "w", options=options) as container,
    ):
        yield container, expected
    with read_back(temporary, expected, path=path):
        pass


class _FrameWriter:
    def __init__(
        self, container: Any, stream: Any, size: tuple[int, int], expected: Expected
    ) -> None:
        self._container, self._stream, self._shape = container, stream, (*size, 3)
        self._expected = expected
        self._converter = ColourConverter(_COLOUR)
        self._count = 0

    def write(self, rgb: NDArray[np.uint8]) -> None:
        if rgb.shape != self._shape or rgb.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self._shape}, got {rgb.dtype} {rgb.shape}")
        frame = self._converter.frame_from_rgb(rgb)
        frame.pts, frame.time_base = self._count, 1 / Fraction(self._stream.codec_context.framerate)
        self._count += 1
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._mux(self._stream.encode())

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            self._expected.note(packet, self._stream)
            self._container.mux(packet)
