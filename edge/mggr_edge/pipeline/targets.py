"""Define targets of the redirection: a fixed gaze, a timed track of gazes, or random glances."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from mggr_edge.errors import DataError, UsageError
from mggr_edge.geometry.angles import Gaze


class TargetSource(Protocol):
    """Target direction of the eyes as a function of time."""

    def at(self, time_s: float) -> Gaze:
        """Return the target at a time in seconds.

        If the time decreases by a large amount, the call is for the first frame of another video.
        """
        ...


CAMERA = Gaze(0.0, 0.0)

MAX_PITCH_DEG = 20.0
MAX_YAW_DEG = 30.0
"""Maximum target angles in degrees.

These angles are twice the range of the training data (10 and 15 degrees). For larger angles, the
output of the networks has no basis in the training data.
"""


@dataclass(frozen=True)
class FixedTarget:
    """Target that is constant over time."""

    target: Gaze

    def at(self, time_s: float) -> Gaze:
        """Return the target, which does not depend on the time."""
        return self.target


def parse_target(text: str) -> Gaze:
    """Parse a target.

    Args:
        text: "camera", or "PITCH,YAW" in degrees. Positive pitch points up, and positive yaw points
            to the image's right.

    Raises:
        UsageError: the text has another form, or an angle is out of range.

    Example:
        >>> parse_target("5,-10")
        Gaze(pitch_deg=5.0, yaw_deg=-10.0)
    """
    if text.strip().lower() == "camera":
        return CAMERA
    try:
        pitch_deg, yaw_deg = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"target {text!r} is neither 'camera' nor PITCH,YAW in degrees, such as 5,-10",
            code="target-not-an-angle-pair",
            target=text,
        ) from None
    try:
        return check_target(pitch_deg, yaw_deg)
    except UsageError as error:
        raise UsageError(
            f"target {text!r}: {error} (PITCH,YAW)", code=error.code, target=text, **error.fields
        ) from None


def check_target(pitch_deg: float, yaw_deg: float) -> Gaze:
    """Return the target direction, after a check that both angles are in the supported range.

    Raises:
        UsageError: an angle is out of range or NaN.
    """
    for name, value, limit in (
        ("pitch", pitch_deg, MAX_PITCH_DEG),
        ("yaw", yaw_deg, MAX_YAW_DEG),
    ):
        # A comparison with NaN is always false. Therefore this condition also rejects NaN.
        if not -limit <= value <= limit:
            raise UsageError(
                f"{name} is {value:g} degrees, expected {-limit:g} to {limit:g}",
                code="target-out-of-range",
                angle=name,
                found=value,
                limit=limit,
            )
    return Gaze(pitch_deg, yaw_deg)


_COLUMNS = ("time_s", "pitch_deg", "yaw_deg")


class TargetTrack:
    """A table of targets at given times.

    Between two rows, the target is interpolated linearly. Before the first row and after the last
    row, the target is constant.

    Args:
        rows: pairs (time in seconds, target). The times must be strictly increasing.
    """

    def __init__(self, rows: list[tuple[float, Gaze]]) -> None:
        self._times = [time_s for time_s, _ in rows]
        self._pitch = [gaze.pitch_deg for _, gaze in rows]
        self._yaw = [gaze.yaw_deg for _, gaze in rows]

    def at(self, time_s: float) -> Gaze:
        """Return the target at a time in seconds."""
        pitch, yaw = (np.interp(time_s, self._times, one) for one in (self._pitch, self._yaw))
        return Gaze(float(pitch), float(yaw))


def read_target_track(path: str | Path) -> TargetTrack:
    """Read a CSV file with the columns `time_s`, `pitch_deg` and `yaw_deg`.

    Other columns are ignored.

    Raises:
        DataError: the file cannot be read, lacks a column, or has no rows. The error is also raised
            if a value is not a valid time or angle, or if the times do not increase. For an invalid
            value, the message contains the number of the line.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}; expected {', '.join(_COLUMNS)}",
                    code="targets-without-column",
                    path=path,
                    missing=", ".join(missing),
                )
            rows = [_row(path, reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}",
            code="targets-not-readable",
            path=path,
            reason=error.strerror,
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} is not a CSV file: {error}",
            code="targets-not-csv",
            path=path,
            reason=str(error),
        ) from error
    if not rows:
        raise DataError(
            f"{path} has no rows, expected at least one target", code="targets-empty", path=path
        )
    for (before, _), (after, _) in pairwise(rows):
        if not after > before:
            raise DataError(
                f"{path}: the times must increase, got {after:g} after {before:g} seconds",
                code="target-times-not-increasing",
                path=path,
                found=after,
                before=before,
            )
    return TargetTrack(rows)


def _row(path: str | Path, line: int, row: dict[str, str | None]) -> tuple[float, Gaze]:
    time_s, pitch_deg, yaw_deg = (_number(path, line, name, row[name]) for name in _COLUMNS)
    if not np.isfinite(time_s):
        raise DataError(
            f"{path}, line {line}: time_s is {time_s}, expected a finite number of seconds",
            code="target-time-not-finite",
            path=path,
            line=line,
            found=time_s,
        )
    try:
        return time_s, check_target(pitch_deg, yaw_deg)
    except UsageError as error:
        raise DataError(
            f"{path}, line {line}: {error}", code=error.code, path=path, line=line, **error.fields
        ) from error


def _number(path: str | Path, line: int, column: str, cell: str | None) -> float:
    try:
        return float(cell or "")
    except ValueError:
        raise DataError(
            f"{path}, line {line}: {column} is {cell or ''!r}, expected a number",
            code="target-not-a-number",
            path=path,
            line=line,
            column=column,
            found=cell or "",
        ) from None


_HELD_S = (3.3, 0.7)
"""Time in seconds until mutual gaze becomes uncomfortable: mean and standard deviation [1]."""

_AWAY_S = (0.5, 1.4)
"""Shortest and longest duration of a glance, in seconds.

The durations and the directions below were chosen by hand. Glances are mostly sideways. They go
down more often than up.
"""
_YAW_DEG = (5.0, 11.0)
_PITCH_DEG = (-6.0, 3.0)

_PAUSE_S = 10.0
"""Gap in seconds after which the glances start again from the target."""

_SACCADE_S = 0.021
_SACCADE_S_PER_DEG = 0.0022
"""Duration of a saccade in seconds: a constant, plus a duration per degree of rotation [2]."""


class Glances:
    """A target with glances: every few seconds, the eyes briefly look in a random direction.

    Args:
        target: direction to which the eyes return.
        seed: seed of the random times and directions.

    References:
        [1] Binetti et al., Pupil dilation as an index of preferred mutual gaze duration,
            R. Soc. Open Sci. 3, 2016. The mean is 3.3 seconds, with a standard deviation of 0.7
            seconds between people.
        [2] Carpenter, Movements of the Eyes, 1988. The duration is 21 ms plus 2.2 ms per degree.
    """

    def __init__(self, target: Gaze, *, seed: int = 0) -> None:
        self._target = target
        self._rng = np.random.default_rng(seed)
        self._is_away = False
        self._from = self._to = target
        self._jumps_at_s: float | None = None
        self._jumped_at_s = self._takes_s = 0.0

    def at(self, time_s: float) -> Gaze:
        """Return the target at a time in seconds.

        If the time decreases by more than the shortest glance, the sequence of glances starts again
        from the target. The sequence also starts again after a gap of more than `_PAUSE_S` seconds.
        """
        if self._jumps_at_s is None or not (
            self._jumped_at_s - _AWAY_S[0] <= time_s <= self._jumps_at_s + _PAUSE_S
        ):
            self._is_away, self._from, self._to = False, self._target, self._target
            self._jumped_at_s, self._jumps_at_s = time_s, time_s + self._hold_s()
        while time_s >= self._jumps_at_s:
            self._jumped_at_s = self._jumps_at_s
            self._is_away = not self._is_away
            self._from, self._to = self._to, self._glance() if self._is_away else self._target
            self._takes_s = _SACCADE_S + _SACCADE_S_PER_DEG * self._from.angle_to(self._to)
            self._jumps_at_s += self._hold_s()
        if time_s - self._jumped_at_s >= self._takes_s:
            return self._to
        t = max(0.0, (time_s - self._jumped_at_s) / self._takes_s)
        share = t * t * (3.0 - 2.0 * t)
        return Gaze.from_array((1 - share) * self._from.array() + share * self._to.array())

    def _hold_s(self) -> float:
        if self._is_away:
            return float(self._rng.uniform(*_AWAY_S))
        mean, deviation = _HELD_S
        return float(np.clip(self._rng.normal(mean, deviation), mean - 2, mean + 2))

    def _glance(self) -> Gaze:
        yaw_deg = self._rng.choice([-1.0, 1.0]) * self._rng.uniform(*_YAW_DEG)
        pitch_deg = self._rng.uniform(*_PITCH_DEG)
        return Gaze(
            float(np.clip(self._target.pitch_deg + pitch_deg, -MAX_PITCH_DEG, MAX_PITCH_DEG)),
            float(np.clip(self._target.yaw_deg + yaw_deg, -MAX_YAW_DEG, MAX_YAW_DEG)),
        )
