"""v4l2loopback: the device that video calls take for a camera."""

from __future__ import annotations

from mggr_edge.tools.doctor.cameras import virtual_devices
from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine

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
