"""A moving portrait: scikit-image's public-domain photograph of an astronaut [1].

She looks into the lens. Every frame is one similarity warp of the photograph
(pan, zoom, tilt), so the whole clip is a pure function of time, and where a
point of the photograph lies in a frame is known exactly.

References:
    [1] NASA, portrait of Eileen Collins, 1993; public domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress

SIZE_PX = 640
RATE = 25
SECONDS = 8.0
FRAMES = round(SECONDS * RATE)

_FACE_MIDDLE = (224.0, 112.0)
_ZOOM = (3.6, 4.3)
"""Frame pixels per pixel of the photograph: an eye is 65 to 77 of them wide."""

_PAN_PX = (7.0, 5.0)
_TILT_DEG = 4.0


@dataclass(frozen=True)
class Pose:
    """How the photograph lies in a frame.

    Attributes:
        middle: (x, y) of the photograph that is seen at the frame's middle.
        zoom: frame pixels per pixel of the photograph.
        tilt_deg: how far the picture is turned, + clockwise as seen.
    """

    middle: tuple[float, float]
    zoom: float
    tilt_deg: float

    def frame_from_photo(self) -> NDArray[np.float64]:
        """The 2x3 similarity that maps points of the photograph to frame points."""
        tilt = np.radians(self.tilt_deg)
        turn = self.zoom * np.array(
            [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]], np.float64
        )
        centre = np.full(2, (SIZE_PX - 1) / 2)
        return np.hstack([turn, (centre - turn @ np.asarray(self.middle))[:, None]])


def pose_at(time_s: float) -> Pose:
    """The pose at a time; three slow waves of different length, so that nothing repeats."""
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
    """[512, 512, 3] uint8 RGB."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut())


def portrait_frame(photo: NDArray[np.uint8], time_s: float) -> NDArray[np.uint8]:
    """One frame, [SIZE_PX, SIZE_PX, 3] uint8 RGB; enlarged by cubic interpolation."""
    return cv2.warpAffine(
        photo, pose_at(time_s).frame_from_photo(), (SIZE_PX, SIZE_PX), flags=cv2.INTER_CUBIC
    )


def portrait_frames(*, frames: int = FRAMES) -> Iterator[NDArray[np.uint8]]:
    """The clip's frames, in order."""
    photo = photograph()
    for number in range(frames):
        yield portrait_frame(photo, number / RATE)


def write_portrait(path: Path, *, progress: Progress, frames: int = FRAMES) -> None:
    """Writes the clip as an H.264 video file.

    Raises:
        StreamError: it cannot be written.
    """
    from mggr_export.quickstart.clip import clip_writer

    with (
        clip_writer(path, size=(SIZE_PX, SIZE_PX), rate=Fraction(RATE)) as write,
        progress("drawing the portrait clip", frames) as advance,
    ):
        for frame in portrait_frames(frames=frames):
            write(frame)
            advance()
