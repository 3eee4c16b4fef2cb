"""Heat, memory and disk, as they are now."""

from __future__ import annotations

import re
import shutil

from mggr_edge.runs.service.thermal import HOT_C, ZONES, zones_c
from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine

_LEAST_MEMORY_MB = 500
_LEAST_DISK_MB = 1000


def check_temperature(machine: Machine) -> Check:
    """The hottest thermal zone."""
    zones = zones_c(machine.at(str(ZONES)))
    if not zones:
        return Check("temperature", "missing", "no thermal zone can be read")
    hottest = max(zones, key=lambda name: zones[name])
    found = f"{zones[hottest]:.0f} °C in {hottest}, the hottest of {len(zones)}"
    if zones[hottest] >= HOT_C:
        fix = "a fan, or less to do: --input-width 640, --max-faces 1, a bundle in int8"
        return Check("temperature", "warn", f"{found}: the clock is lowered soon", fix)
    return Check("temperature", "ok", found)


def check_memory(machine: Machine) -> Check:
    """What programs may still take."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", machine.text("/proc/meminfo") or "", re.M)
    if match is None:
        return Check("memory", "warn", "/proc/meminfo does not tell what is free")
    free_mb = int(match[1]) * 1024 / 1e6
    if free_mb < _LEAST_MEMORY_MB:
        fix = "ps -eo pid,rss,comm --sort=-rss | head (says who has it)"
        return Check("memory", "warn", f"only {free_mb:.0f} MB free", fix)
    return Check("memory", "ok", f"{free_mb:.0f} MB free")


def check_disk(machine: Machine) -> Check:
    """Room for what a run writes into the current folder."""
    free_mb = shutil.disk_usage(machine.folder).free / 1e6
    if free_mb < _LEAST_DISK_MB:
        fix = f"du -xh -d 1 {machine.folder} | sort -h | tail (says what takes it)"
        return Check("disk", "warn", f"only {free_mb:.0f} MB free in {machine.folder}", fix)
    return Check("disk", "ok", f"{free_mb / 1000:.1f} GB free in {machine.folder}")
