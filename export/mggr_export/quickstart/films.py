"""What compares before and after: two small clips and three sheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mggr_export.quickstart.clip import SMALL_CRF, WriteFrame, clip_writer
from mggr_export.quickstart.close_up import SIZE_PX as CLOSE_UP_PX
from mggr_export.quickstart.drawing import GAP_PX, Picture
from mggr_export.quickstart.names import (
    CHART_SHEET,
    EYES_CLIP,
    FACES_CLIP,
    STILLS_SHEET,
    STRIP_SHEET,
)
from mggr_export.quickstart.observe import Sight
from mggr_export.quickstart.portrait import RATE
from mggr_export.quickstart.sheets import above_each_other, chart, side_by_side, strip
from mggr_export.quickstart.sweep import target_at
from mggr_tf.training.sheets import write_png

STRIP_TIMES_S = (0.2, 0.8, 1.28, 1.76, 2.24, 2.72, 3.2, 4.0, 4.52, 5.48, 6.0, 7.4)
"""Yaw -15 to 15 and pitch 10 to -10 in steps of five, and the camera."""

STILL_TIMES_S = (0.2, 3.2, 4.0, 7.4)

_COMMENT = "gaze redirected by mggr-tf"
_HALF_PX = 448
"""Side of each half of the clip with both faces: sharp on a phone, small in a report."""

_FACES_PX = (_HALF_PX, 2 * _HALF_PX + GAP_PX)
_EYES_PX = (2 * CLOSE_UP_PX[0] + GAP_PX, CLOSE_UP_PX[1])


class Films:
    """Takes frames as they come; made by `open_films`.

    Args:
        faces, eyes: write the clips.
    """

    def __init__(self, *, faces: WriteFrame, eyes: WriteFrame) -> None:
        self._faces, self._eyes = faces, eyes
        self._wanted = {_number(t) for t in (*STRIP_TIMES_S, *STILL_TIMES_S)}
        self._kept: dict[int, tuple[Picture, Picture]] = {}

    def show(self, before: Picture, after: Picture, time_s: float) -> None:
        """Takes one frame of the portrait clip, before and after."""
        half = (_HALF_PX, _HALF_PX)
        halves = [cv2.resize(f, half, interpolation=cv2.INTER_AREA) for f in (before, after)]
        self._faces(side_by_side(halves[0], halves[1], target_at(time_s)))
        self._eyes(above_each_other(before, after, time_s))
        if _number(time_s) in self._wanted:
            self._kept[_number(time_s)] = before, after

    def write_sheets(self, folder: Path, sights: Sequence[Sight]) -> None:
        """Writes the sheets, when all frames were shown."""
        rows = [(time_s, *self._kept[_number(time_s)]) for time_s in STRIP_TIMES_S]
        stills = [
            side_by_side(*self._kept[_number(time_s)], target_at(time_s))
            for time_s in STILL_TIMES_S
        ]
        write_png(folder / STRIP_SHEET, strip(rows))
        write_png(folder / STILLS_SHEET, np.concatenate(stills))
        write_png(folder / CHART_SHEET, chart(sights))


@contextmanager
def open_films(folder: Path) -> Iterator[Films]:
    """Opens both clips; on leaving without an error they are there, whole.

    Raises:
        StreamError: they cannot be written.
    """
    how = {"rate": Fraction(RATE), "crf": SMALL_CRF, "comment": _COMMENT}
    with (
        clip_writer(folder / FACES_CLIP, size=_FACES_PX, **how) as faces,  # type: ignore[arg-type]
        clip_writer(folder / EYES_CLIP, size=_EYES_PX, **how) as eyes,  # type: ignore[arg-type]
    ):
        yield Films(faces=faces, eyes=eyes)


def _number(time_s: float) -> int:
    return round(time_s * RATE)
