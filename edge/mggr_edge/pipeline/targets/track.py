"""A target that follows a table of times and angles."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np

from mggr_edge.errors import DataError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.targets.fixed import check_target

_COLUMNS = ("time_s", "pitch_deg", "yaw_deg")


class FollowedAim:
    """Goes straight from row to row; before the first and after the last it rests there.

    Args:
        rows: (time_s, target), times going up.
    """

    def __init__(self, rows: list[tuple[float, Gaze]]) -> None:
        self._times = [time_s for time_s, _ in rows]
        self._pitch = [gaze.pitch_deg for _, gaze in rows]
        self._yaw = [gaze.yaw_deg for _, gaze in rows]

    def at(self, time_s: float) -> Gaze:
        """The target at a time."""
        pitch, yaw = (np.interp(time_s, self._times, one) for one in (self._pitch, self._yaw))
        return Gaze(float(pitch), float(yaw))


def read_followed(path: str | Path) -> FollowedAim:
    """Reads a CSV with the columns time_s, pitch_deg, yaw_deg; others are ignored.

    Raises:
        DataError: it cannot be read, lacks a column, or holds what is no time or angle; with
            the line.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} has no column {', '.join(missing)}; expected {_COLUMNS}")
            rows = [_row(path, reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV: {error}") from error
    if not rows:
        raise DataError(f"{path} has no rows")
    for (before, _), (after, _) in pairwise(rows):
        if not after > before:
            raise DataError(f"{path}: times must go up, got {after:g} after {before:g}")
    return FollowedAim(rows)


def _row(path: str | Path, line: int, row: dict[str, str | None]) -> tuple[float, Gaze]:
    try:
        time_s, pitch_deg, yaw_deg = (float(row[name] or "") for name in _COLUMNS)
        if not np.isfinite(time_s):
            raise ValueError(f"no time: {time_s}")
        return time_s, check_target(pitch_deg, yaw_deg)
    except (ValueError, UsageError) as error:
        raise DataError(f"{path}, line {line}: {error}") from error
