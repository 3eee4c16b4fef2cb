"""Cameras: there, allowed, free. None is opened."""

from __future__ import annotations

from pathlib import Path

from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine
from mggr_edge.tools.doctor.processes import Holders, holders

_VIRTUAL = "/sys/devices/virtual/video4linux"


def video_devices(machine: Machine) -> list[Path]:
    """All of them, in the order of their numbers."""
    found = [d for d in machine.at("/dev").glob("video*") if d.name[5:].isdigit()]
    return sorted(found, key=lambda device: int(device.name[5:]))


def virtual_devices(machine: Machine) -> list[str]:
    """Names of those that no hardware is behind, in the order of their numbers."""
    found = [d.name for d in machine.at(_VIRTUAL).glob("video*") if d.name[5:].isdigit()]
    return sorted(found, key=lambda name: int(name[5:]))


def check_cameras(machine: Machine) -> Check:
    """Whether this user may read them, and whether somebody else does."""
    virtual = virtual_devices(machine)
    devices = video_devices(machine)
    cameras = [device for device in devices if device.name not in virtual]
    closed = [device.name for device in devices if not machine.may_use(device)]
    if not cameras and not closed:
        return Check("cameras", "missing", "no /dev/video*; files and streams do without")
    found = ", ".join(f"/dev/{d.name}" for d in cameras or devices)
    if closed:
        fix = 'sudo usermod -aG video "$USER", then log in again'
        return Check("cameras", "warn", f"{found}; no permission for {', '.join(closed)}", fix)
    held = holders(machine, "/dev/video")
    busy = {d.name: held.of[f"/dev/{d.name}"] for d in cameras if f"/dev/{d.name}" in held.of}
    if busy:
        who = "; ".join(
            f"/dev/{name} is held by {', '.join(map(str, by))}" for name, by in busy.items()
        )
        pids = dict.fromkeys(process.pid for by in busy.values() for process in by)
        return Check("cameras", "warn", f"{found}; {who}", f"kill {' '.join(map(str, pids))}")
    return Check("cameras", "ok", found + _what_is_unknown(held))


def _what_is_unknown(held: Holders) -> str:
    if not held.unseen:
        return ", free"
    return f"; whether one of {held.unseen} processes of others holds one, only root can tell"
