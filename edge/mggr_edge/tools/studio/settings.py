"""What somebody sets on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from typing import Any

from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.targets import check_target


@dataclass(frozen=True)
class Settings:
    """How eyes are redirected, and what is drawn.

    Attributes:
        pitch_deg, yaw_deg: of the target; up and to the picture's right are +.
        strength: in [0, 1], what is asked for while it is on.
        is_on: whether eyes are redirected at all.
        overlay: whether what is seen and done is drawn on the picture.
    """

    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    strength: float = 1.0
    is_on: bool = True
    overlay: bool = False

    @property
    def target(self) -> Gaze:
        """Where eyes shall look."""
        return Gaze(self.pitch_deg, self.yaw_deg)

    @property
    def applied_strength(self) -> float:
        """How far on the way there: nothing while it is off."""
        return self.strength if self.is_on else 0.0


_KINDS = {field.name: field.type for field in fields(Settings)}


def changed(settings: Settings, asked: Mapping[str, Any]) -> Settings:
    """The settings with what is asked for in place of what was.

    Args:
        settings: as they are.
        asked: some of their fields, as JSON gives them.

    Raises:
        UsageError: an unknown name, another type, or a number that is out of range.
    """
    values: dict[str, Any] = {name: _value(name, value) for name, value in asked.items()}
    after = replace(settings, **values)
    check_target(after.pitch_deg, after.yaw_deg)
    if not 0.0 <= after.strength <= 1.0:
        raise UsageError(f"strength is {after.strength:g}, expected 0 to 1")
    return after


def _value(name: str, value: object) -> bool | float:
    if name not in _KINDS:
        raise UsageError(f"{name} is no setting; settings are {', '.join(_KINDS)}")
    if _KINDS[name] == "bool":
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {_shown(value)}, expected true or false")
        return value
    # True is a number to Python.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{name} is {_shown(value)}, expected a number")
    try:
        number = float(value)
    except OverflowError:  # An integer of more than 308 digits.
        number = inf
    if not isfinite(number):
        raise UsageError(f"{name} is {_shown(value)}, expected a number that a float holds")
    return number


def _shown(value: object) -> str:
    """A value for a message: lists and objects, which may be nested deeply, by their kind."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST = 60
