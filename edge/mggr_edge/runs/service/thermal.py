"""How hot the machine is, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

ZONES = Path("/sys/class/thermal")

HOT_C = 85.0
"""From here on it is too hot: a little later the clock is lowered."""

_MILLIDEGREES = 1000
_BELIEVABLE_C = (0.0, 150.0)
"""What lies outside is a sensor that is off: Jetsons have zones that say -256."""

_CONSTANT = "PMIC"
"""Some Jetsons have a zone of this name that says the same number for ever."""


def zones_c(folder: Path = ZONES) -> dict[str, float]:
    """Every zone that can be read and believed, by its kind, in degrees Celsius."""
    found: dict[str, float] = {}
    for zone in folder.glob("thermal_zone*"):
        try:
            celsius = int((zone / "temp").read_text(encoding="ascii")) / _MILLIDEGREES
        except (OSError, ValueError):  # a zone may be there and refuse to be read
            continue
        name = _kind(zone)
        if _BELIEVABLE_C[0] < celsius < _BELIEVABLE_C[1] and not name.startswith(_CONSTANT):
            found[name] = max(celsius, found.get(name, celsius))
    return found


def hottest_c(folder: Path = ZONES) -> float | None:
    """Temperature of the hottest zone in degrees Celsius; None where none can be read."""
    return max(zones_c(folder).values(), default=None)


def _kind(zone: Path) -> str:
    try:
        return (zone / "type").read_text(encoding="utf-8", errors="replace").strip() or zone.name
    except OSError:
        return zone.name
