"""How much memory this process holds."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_mb() -> float | None:
    """Resident memory in megabytes; None where the system does not tell (Linux' `/proc` does)."""
    if not _STATUS.exists():
        return None
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    held = (int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))
    return next(held, None)
