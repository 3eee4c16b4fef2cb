"""How hot the machine is, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

ZONES = Path("/sys/class/thermal")

_MILLIDEGREES = 1000
_BELIEVABLE_C = (0.0, 150.0)
"""What lies outside is a sensor that is off: Jetsons have zones that say -256."""


def hottest_c(zones: Path | None = None) -> float | None:
    """Temperature of the hottest zone in degrees Celsius; None where none can be read."""
    found = []
    for zone in (zones or ZONES).glob("thermal_zone*/temp"):
        try:
            temperature = int(zone.read_text(encoding="ascii")) / _MILLIDEGREES
        except (OSError, ValueError):  # a zone may be there and refuse to be read
            continue
        if _BELIEVABLE_C[0] < temperature < _BELIEVABLE_C[1]:
            found.append(temperature)
    return max(found, default=None)
