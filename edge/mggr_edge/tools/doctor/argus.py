"""A Jetson's CSI cameras, and the daemon that gives out their pictures."""

from __future__ import annotations

from mggr_edge.tools.doctor.cameras import video_devices
from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine
from mggr_edge.tools.doctor.processes import processes

_DAEMON = "nvargus-daemon"
_RESTART = f"sudo systemctl restart {_DAEMON}"
_START = f"sudo systemctl enable --now {_DAEMON}"
_SENSOR = "vi-output"
_STUCK = {"D": "waits for the kernel", "T": "is stopped", "Z": "has died and is not yet gone"}


def check_argus(machine: Machine) -> Check | None:
    """Whether nvargus-daemon runs, without which nvarguscamerasrc gives nothing."""
    if machine.jetson is None:
        return None
    said = machine.answer(["systemctl", "is-active", _DAEMON])
    running = [p for p in processes(machine) if p.name == _DAEMON]
    for process in running:
        if why := _STUCK.get(_state(machine, process.pid)):
            return Check(_DAEMON, "warn", f"stuck: {process} {why}", _RESTART)
    if said in ("failed", "activating", "deactivating", "reloading"):
        return Check(_DAEMON, "warn", f"not running, systemd says: {said}", _RESTART)
    if said == "active" or (not said and running):
        found = f"running; where it gives no picture all the same: {_RESTART}"
        return Check(_DAEMON, "ok", found)
    found = "not running" + (f", systemd says: {said}" if said else "")
    return Check(_DAEMON, "missing", found, _START)


def check_csi(machine: Machine) -> Check | None:
    """Whether the kernel found a sensor on a CSI connector."""
    if machine.jetson is None:
        return None
    sensors = []
    for device in video_devices(machine):
        name = machine.text(f"/sys/class/video4linux/{device.name}/name") or ""
        # Its driver calls it e.g. "vi-output, imx219 9-0010".
        if name.startswith(_SENSOR):
            sensors.append(f"{name.removeprefix(_SENSOR).strip(' ,')} at /dev/{device.name}")
    if not sensors:
        fix = (
            "sudo /opt/nvidia/jetson-io/jetson-io.py (name the camera, then reboot; "
            "with the power off, look at the ribbon cable)"
        )
        return Check("CSI cameras", "missing", "no sensor on a CSI connector", fix)
    addresses = " and ".join(f"csi://{number}" for number in range(len(sensors)))
    found = f"{', '.join(sensors)}; to be named {addresses}: /dev/video* gives raw Bayer pictures"
    return Check("CSI cameras", "ok", found)


def _state(machine: Machine, pid: int) -> str:
    # "123 (name) S ...": the name may hold spaces and brackets.
    return (machine.text(f"/proc/{pid}/stat") or "").rpartition(")")[2].strip()[:1]
