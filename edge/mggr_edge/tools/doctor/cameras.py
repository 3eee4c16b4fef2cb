"""Checks cameras: present, permitted, free. None is opened."""

from __future__ import annotations

from pathlib import Path

from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine
from mggr_edge.tools.doctor.system import Holders, holders, processes

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


_NAME = "virtual camera"
_OPTIONS = "video_nr=10 exclusive_caps=1 card_label=mggr-edge"
_CONFIGURED = "/etc/modprobe.d", "/usr/lib/modprobe.d", "/run/modprobe.d"
_LOADED = "/etc/modules-load.d", "/usr/lib/modules-load.d", "/run/modules-load.d"

INSTALL = "sudo apt install v4l2loopback-dkms"
LOAD = f"sudo modprobe v4l2loopback {_OPTIONS}"
UNLOAD = "sudo modprobe -r v4l2loopback"
KEEP = (
    f"echo 'options v4l2loopback {_OPTIONS}' | sudo tee /etc/modprobe.d/v4l2loopback.conf\n"
    "echo v4l2loopback | sudo tee /etc/modules-load.d/v4l2loopback.conf"
)
PYVIRTUALCAM = "pip install 'pyvirtualcam>=0.11'"


def check_virtual_camera(machine: Machine) -> Check:
    """Whether a device is there that browsers list, that stays, and that we can write to."""
    writer = [] if machine.version("pyvirtualcam") else [PYVIRTUALCAM]
    keeping = [] if _is_kept(machine) else [KEEP]
    if not machine.at("/sys/module/v4l2loopback").is_dir():
        mends = [*_install(machine), LOAD, *keeping, *writer]
        found = "v4l2loopback is not loaded; only v4l2loopback:// needs it"
        return Check(_NAME, "missing", found, "\n".join(mends))
    devices = virtual_devices(machine)
    if not devices:
        mends = [UNLOAD, LOAD, *keeping, *writer]
        return Check(_NAME, "missing", "v4l2loopback has no device", "\n".join(mends))
    found = ", ".join(_shown(machine, device) for device in devices)
    if open_ := [d for d in devices if not _is_exclusive(machine, d, devices)]:
        found += f"; without exclusive_caps=1, so that browsers do not list it: {', '.join(open_)}"
        return Check(_NAME, "warn", found, "\n".join([UNLOAD, LOAD, *keeping, *writer]))
    if writer:
        return Check(_NAME, "missing", f"{found}; pyvirtualcam is not installed", PYVIRTUALCAM)
    if keeping:
        return Check(_NAME, "warn", f"{found}; gone after a reboot", KEEP)
    return Check(_NAME, "ok", f"{found}, exclusive_caps=1, kept over a reboot")


def _shown(machine: Machine, device: str) -> str:
    name = machine.text(f"/sys/devices/virtual/video4linux/{device}/name")
    return f"/dev/{device}" + (f" ({name})" if name else "")


def _install(machine: Machine) -> list[str]:
    """What brings the module, where no kernel that is installed has it."""
    release = machine.text("/proc/sys/kernel/osrelease") or ""
    if "v4l2loopback.ko" in (machine.text(f"/lib/modules/{release}/modules.dep") or ""):
        return []
    headers = "nvidia-l4t-kernel-headers" if machine.jetson else f"linux-headers-{release}"
    return [f"{INSTALL} {headers}"]


def _is_exclusive(machine: Machine, device: str, devices: list[str]) -> bool:
    """The module's options are lists, one place for each device that it made when loaded."""
    flags = _list(machine, "exclusive_caps")
    numbers = _list(machine, "video_nr")
    number = device.removeprefix("video")
    place = numbers.index(number) if number in numbers else devices.index(device)
    return place < len(flags) and flags[place] in ("Y", "1")


def _list(machine: Machine, option: str) -> list[str]:
    return (machine.text(f"/sys/module/v4l2loopback/parameters/{option}") or "").split(",")


def _is_kept(machine: Machine) -> bool:
    options = _lines(machine, _CONFIGURED)
    has_options = any(
        line.split()[:2] == ["options", "v4l2loopback"] and "exclusive_caps=1" in line
        for line in options
    )
    loads = [*_lines(machine, _LOADED), *(machine.text("/etc/modules") or "").splitlines()]
    return has_options and any(line.split()[:1] == ["v4l2loopback"] for line in loads)


def _lines(machine: Machine, folders: tuple[str, ...]) -> list[str]:
    files = [file for folder in folders for file in sorted(machine.at(folder).glob("*.conf"))]
    return [line for file in files for line in (machine.text(file) or "").splitlines()]
