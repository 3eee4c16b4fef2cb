"""Less work when there is too much of it or the machine gets hot, and more again afterwards.

The steps, each on top of the one before: the fine branch is skipped, where the bundle allows it;
the processing rate is halved (see `workload`). The first step down follows two seconds of overload
or heat. While the machine is hot, the next one follows only after the first has had time to cool it
and has not done so. A step up needs room for the work that it adds, for longer each time that it
turned out to be too early.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from mggr_edge.runs.service.thermal import HOT_C

WINDOW_S = 1.0

_COOLER_C = 7.0
"""So far below what is hot there may be more work again."""

_TOO_MUCH, _ROOM = 0.95, 0.75
_WINDOWS_DOWN, _WINDOWS_UP = 2, 3
_WINDOWS_COOLING = 15
"""A step takes effect on the load at once; a heat sink follows within some ten seconds."""

_MOST_WINDOWS_UP = 60
_TOO_EARLY_WINDOWS = 10
_GROWTH = {"fine": 1.6, "frames": 2.0}
"""How much more work a step up is. The fine branch takes a third of a frame's work or less."""


class Level(IntEnum):
    """How much of the work is done."""

    ALL = 0
    COARSE = 1
    HALF = 2

    def in_words(self) -> str:
        """What is done there."""
        return ("all of the work", "without the fine branch", "at most every second frame")[self]


@dataclass(frozen=True)
class Load:
    """What a while was like.

    Attributes:
        arrived: frames that came from the source, taken or not.
        taken: frames that were worked on.
        busy_s: seconds that these took.
        lasted_s: how long the while was.
    """

    arrived: int
    taken: int
    busy_s: float
    lasted_s: float

    @property
    def share(self) -> float:
        """Work that every arriving frame would make, over the time there is; 1 is all of it."""
        if not self.taken or self.lasted_s <= 0:
            return 0.0
        return self.busy_s / self.taken * self.arrived / self.lasted_s


class Pressure:
    """Decides how much is done, from what a second was like.

    Attributes:
        level: what is done now.
        must_cool: whether the machine was too hot and has not cooled down since.

    Args:
        has_coarse: whether the fine branch can be left out, of the bundle that is in use then.
        temperature: of the machine in degrees Celsius, None where it does not tell.
        say: takes every step, and its reason.
        hot_c: from where on it is too hot.
    """

    def __init__(
        self,
        *,
        has_coarse: Callable[[], bool],
        temperature: Callable[[], float | None],
        say: Callable[[str], None],
        hot_c: float = HOT_C,
    ) -> None:
        self.level = Level.ALL
        self.must_cool = False
        self._has_coarse = has_coarse
        self._temperature, self._say, self._hot_c = temperature, say, hot_c
        self._too_much = self._room = 0
        self._coolest_c = -float("inf")
        self._uncooled = _WINDOWS_COOLING
        self._patience = _WINDOWS_UP
        self._since_up: int | None = None

    def look(self, load: Load) -> None:
        """Takes a window of `WINDOW_S`, and perhaps a step."""
        celsius = self._temperature()
        is_hot = celsius is not None and celsius >= self._hot_c
        is_cool = celsius is None or celsius < self._hot_c - _COOLER_C
        self.must_cool = is_hot or (self.must_cool and not is_cool)
        share = load.share / 2 if self.level is Level.HALF else load.share
        if is_hot or load.taken:  # a while without work says nothing of how long it takes
            self._too_much = self._too_much + 1 if is_hot or share > _TOO_MUCH else 0
            has_room = is_cool and share * self._growth() < _ROOM
            self._room = self._room + 1 if has_room else 0
        self._since_up = None if self._since_up is None else self._since_up + 1
        self._note_cooling(celsius)
        is_cooling = is_hot and self._uncooled < _WINDOWS_COOLING
        if self._too_much >= _WINDOWS_DOWN and not is_cooling:
            reason = f"{celsius:.0f} °C hot" if is_hot else f"{share:.0%} of the time there is"
            self._step(+1, reason)
            self._coolest_c = -float("inf") if celsius is None else celsius
            self._uncooled = 0
        elif self._room >= self._patience:
            self._step(-1, "there is room again")

    def _note_cooling(self, celsius: float | None) -> None:
        """Counts windows since the last step down, or since the coolest one after it."""
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
        self._say(f"{reason}: {self.level.in_words()}")
