"""Load shedding: reduce the work if the machine is hot or overloaded, and increase it later.

There are two steps down:

1. Skip the fine branch of the redirector, if the bundle supports this (`Level.COARSE`).
2. In addition, process at most every second frame (`Level.HALF`).

The load is measured in windows of one second. The first step is made after two windows with
overload or heat. If the machine is still hot after the first step, the first step gets time to take
effect. If the temperature then reaches no new minimum in `_WINDOWS_COOLING` windows, the second
step follows.

A step up needs free capacity for the work that it adds. The capacity must be free for at least
three windows. If the load is too high again soon after a step up, this step was too early. In this
case, the required number of windows for the next step up is doubled.

A slow machine may need longer for a frame than the time between two frames. The reader then already
drops the frames in between, so `Level.HALF` alone saves no work. Therefore, a hot machine also
pauses after each frame for as long as the frame took. At most half of the time is then spent on
frames. A slow machine that is cool keeps its frame rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

ZONES = Path("/sys/class/thermal")

HOT_C = 85.0
"""Lowest temperature in degrees Celsius at which the machine counts as hot. At slightly higher
temperatures, the hardware lowers its clock rate."""

_MILLIDEGREES = 1000
_BELIEVABLE_C = (0.0, 150.0)
"""Range of plausible temperatures in degrees Celsius. Sensors that are off report values outside of
this range. For example, some thermal zones of Jetsons report -256."""

_CONSTANT = "PMIC"
"""Start of the name of a thermal zone that always reports the same value. Some Jetsons have this
zone."""


def zones_c(folder: Path = ZONES) -> dict[str, float]:
    """Return the temperature of each kind of thermal zone in degrees Celsius.

    If several zones have the same kind, the result contains the highest plausible temperature.
    """
    found: dict[str, float] = {}
    for zone in folder.glob("thermal_zone*"):
        try:
            celsius = int((zone / "temp").read_text(encoding="ascii")) / _MILLIDEGREES
        except (OSError, ValueError):  # some zones cannot be read
            continue
        name = _kind(zone)
        if _BELIEVABLE_C[0] < celsius < _BELIEVABLE_C[1] and not name.startswith(_CONSTANT):
            found[name] = max(celsius, found.get(name, celsius))
    return found


def hottest_c(folder: Path = ZONES) -> float | None:
    """Return the temperature of the hottest zone in degrees Celsius.

    If no zone can be read, the result is `None`.
    """
    return max(zones_c(folder).values(), default=None)


def _kind(zone: Path) -> str:
    try:
        return (zone / "type").read_text(encoding="utf-8", errors="replace").strip() or zone.name
    except OSError:
        return zone.name


WINDOW_S = 1.0

_COOLER_C = 7.0
"""Distance from the hot threshold in degrees Celsius. The work may increase again when the
temperature is lower than the threshold minus this distance."""

_TOO_MUCH, _ROOM = 0.95, 0.75
_WINDOWS_DOWN, _WINDOWS_UP = 2, 3
_WINDOWS_COOLING = 15
"""Number of windows to wait until a step down has cooled the machine. A step down reduces the load
immediately. The temperature of a heat sink needs about ten seconds to change."""

_MOST_WINDOWS_UP = 60
_TOO_EARLY_WINDOWS = 10
_GROWTH = {"fine": 1.6, "frames": 2.0}
"""Factor by which a step up multiplies the work. The fine branch needs at most a third of the work
of a frame."""


class Level(IntEnum):
    """Amount of work: all work, no fine branch, or at most every second frame."""

    ALL = 0
    COARSE = 1
    HALF = 2

    def in_words(self) -> str:
        """Return a description of the level."""
        return (
            "full processing",
            "processing without the fine branch",
            "processing of at most every second frame",
        )[self]


@dataclass(frozen=True)
class Load:
    """Load during a period.

    Attributes:
        arrived: number of frames that arrived from the source. Some of them may be dropped.
        taken: number of processed frames.
        busy_s: total processing time of the processed frames in seconds.
        lasted_s: duration of the period in seconds.
    """

    arrived: int
    taken: int
    busy_s: float
    lasted_s: float

    @property
    def share(self) -> float:
        """Time to process all frames that arrived, divided by the period. 1 is full load."""
        if not self.taken or self.lasted_s <= 0:
            return 0.0
        return self.busy_s / self.taken * self.arrived / self.lasted_s


class AnyLoad(Protocol):
    """Load of one source or of several sources during a window."""

    @property
    def taken(self) -> int:
        """Number of processed frames."""
        ...

    @property
    def share(self) -> float:
        """Time to process all frames that arrived, divided by the period. 1 is full load."""
        ...


class Pressure(Protocol):
    """Object that chooses the level of work of one source.

    Attributes:
        level: current level of work.
        must_cool: True if the machine was hot and has not yet cooled down.
    """

    @property
    def level(self) -> Level: ...
    @property
    def must_cool(self) -> bool: ...

    def look(self, load: Load) -> None:
        """Process the load of one window of `WINDOW_S` seconds, and change the level if needed."""
        ...


class LoadController:
    """Controller that chooses the level of work, based on the load and the temperature.

    Attributes:
        level: current level of work.
        must_cool: True if the machine was hot and has not yet cooled down.

    Args:
        has_coarse: function that returns whether the current bundle can skip the fine branch.
        temperature: function that returns the temperature of the machine in degrees Celsius, or
            `None` if the temperature is unknown.
        notify: function that receives a message at each change of the level. The message contains
            the reason.
        hot_c: lowest temperature in degrees Celsius at which the machine counts as hot.
    """

    def __init__(
        self,
        *,
        has_coarse: Callable[[], bool],
        temperature: Callable[[], float | None],
        notify: Callable[[str], None],
        hot_c: float = HOT_C,
    ) -> None:
        self.level = Level.ALL
        self.must_cool = False
        self._has_coarse = has_coarse
        self._temperature, self._notify, self._hot_c = temperature, notify, hot_c
        self._too_much = self._room = 0
        self._coolest_c = -float("inf")
        self._uncooled = _WINDOWS_COOLING
        self._patience = _WINDOWS_UP
        self._since_up: int | None = None

    def look(self, load: AnyLoad) -> None:
        """Process the load of one window of `WINDOW_S` seconds, and change the level if needed."""
        celsius = self._temperature()
        is_hot = celsius is not None and celsius >= self._hot_c
        is_cool = celsius is None or celsius < self._hot_c - _COOLER_C
        self.must_cool = is_hot or (self.must_cool and not is_cool)
        share = load.share / 2 if self.level is Level.HALF else load.share
        if is_hot or load.taken:  # without processed frames, the load is unknown
            self._too_much = self._too_much + 1 if is_hot or share > _TOO_MUCH else 0
            has_room = is_cool and share * self._growth() < _ROOM
            self._room = self._room + 1 if has_room else 0
        self._since_up = None if self._since_up is None else self._since_up + 1
        self._note_cooling(celsius)
        is_cooling = is_hot and self._uncooled < _WINDOWS_COOLING
        if self._too_much >= _WINDOWS_DOWN and not is_cooling:
            reason = f"temperature {celsius:.0f} °C" if is_hot else f"load {share:.0%}"
            self._step(+1, reason)
            self._coolest_c = -float("inf") if celsius is None else celsius
            self._uncooled = 0
        elif self._room >= self._patience:
            self._step(-1, "free capacity")

    def _note_cooling(self, celsius: float | None) -> None:
        """Count the windows since the last step down.

        If the temperature reaches a new minimum, the count restarts.
        """
        self._uncooled += 1
        if celsius is not None and celsius < self._coolest_c:
            self._coolest_c, self._uncooled = celsius, 0

    def _growth(self) -> float:
        if self.level is Level.HALF:
            return _GROWTH["frames"]
        return _GROWTH["fine"]

    def _step(self, by: int, reason: str) -> None:
        self._too_much = self._room = 0
        levels = [level for level in Level if level is not Level.COARSE or self._has_coarse()]
        beyond = [level for level in levels if (level - self.level) * by > 0]
        if not beyond:
            return
        if by < 0:
            self._since_up = 0
        elif self._since_up is not None:
            was_early = self._since_up <= _TOO_EARLY_WINDOWS
            self._patience = min(2 * self._patience, _MOST_WINDOWS_UP) if was_early else _WINDOWS_UP
            self._since_up = None
        self.level = min(beyond, key=lambda level: abs(level - self.level))
        self._notify(f"{reason}: {self.level.in_words()}")


class FrameSkipper:
    """Object that measures the load, and skips frames if the level of work requires this.

    Attributes:
        left_out: number of frames that were skipped to reduce the load.

    Args:
        pressure: controller that chooses the level of work.
        set_fine: function that turns the fine branch on and off. The function must not load a
            model, because it is called in the frame loop.
        waited_s: function that returns the total time in seconds in which the source waited for
            other sources. This time is not processing time.
    """

    def __init__(
        self,
        pressure: Pressure,
        set_fine: Callable[[bool], None],
        *,
        waited_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.left_out = 0
        self._pressure, self._set_fine, self._waited_s = pressure, set_fine, waited_s
        self._last_taken: int | None = None
        self._rests_until_s = -float("inf")
        self._begin(0)

    def takes(self, number: int) -> bool:
        """Return whether a frame must be processed.

        Args:
            number: number of the frame. All frames that arrived are counted, including dropped
                frames.
        """
        self._arrived = number
        self._look()
        if self._pressure.level is Level.HALF and self._is_too_soon(number):
            self.left_out += 1
            return False
        self._last_taken = number
        return True

    def _is_too_soon(self, number: int) -> bool:
        is_next = self._last_taken is not None and number - self._last_taken < 2
        rests = self._pressure.must_cool and time.monotonic() < self._rests_until_s
        return is_next or rests

    @contextmanager
    def work(self) -> Iterator[None]:
        """Measure the duration of the `with` block as the processing time of one frame."""
        started, waited_s = time.monotonic(), self._waited_s()
        yield
        ended = time.monotonic()
        busy_s = ended - started - (self._waited_s() - waited_s)
        self._rests_until_s = ended + busy_s
        self._busy_s += busy_s
        self._taken += 1

    def _look(self) -> None:
        lasted_s = time.monotonic() - self._begun_s
        if lasted_s < WINDOW_S:
            return
        arrived = self._arrived - self._arrived_before
        self._pressure.look(Load(arrived, self._taken, self._busy_s, lasted_s))
        self._set_fine(self._pressure.level is Level.ALL)
        self._begin(self._arrived)

    def _begin(self, arrived: int) -> None:
        self._begun_s = time.monotonic()
        self._arrived_before = self._arrived = arrived
        self._taken, self._busy_s = 0, 0.0
