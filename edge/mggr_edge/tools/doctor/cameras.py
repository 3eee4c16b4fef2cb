"""Check cameras, virtual cameras and GStreamer. No camera is opened."""

from __future__ import annotations

from pathlib import Path

from mggr_edge.tools.doctor.machine import Check, Machine
from mggr_edge.tools.doctor.system import Holders, holders, processes

_VIRTUAL = "/sys/devices/virtual/video4linux"


def video_devices(machine: Machine) -> list[Path]:
    """Return all video devices, sorted by number."""
    found = [d for d in machine.at("/dev").glob("video*") if d.name[5:].isdigit()]
    return sorted(found, key=lambda device: int(device.name[5:]))


def virtual_devices(machine: Machine) -> list[str]:
    """Return the names of the virtual video devices, sorted by number."""
    found = [d.name for d in machine.at(_VIRTUAL).glob("video*") if d.name[5:].isdigit()]
    return sorted(found, key=lambda name: int(name[5:]))


def check_cameras(machine: Machine) -> Check:
    """Check whether this user may use the cameras, and whether other processes have them open."""
    if machine.system != "linux":
        found = "not checked, because this system lists cameras only by opening them"
        return Check("cameras", "ok", found, "mggr-edge cameras")
    virtual = virtual_devices(machine)
    devices = video_devices(machine)
    cameras = [device for device in devices if device.name not in virtual]
    closed = [device.name for device in devices if not machine.may_use(device)]
    if not cameras and not closed:
        return Check(
            "cameras", "missing", "no /dev/video* device; files and streams need no camera"
        )
    found = ", ".join(f"/dev/{d.name}" for d in cameras or devices)
    if closed:
        fix = 'sudo usermod -aG video "$USER", then log in again'
        return Check("cameras", "warn", f"{found}; no permission for {', '.join(closed)}", fix)
    held = holders(machine, "/dev/video")
    busy = {d.name: held.of[f"/dev/{d.name}"] for d in cameras if f"/dev/{d.name}" in held.of}
    if busy:
        who = "; ".join(
            f"/dev/{name} is in use by {', '.join(map(str, by))}" for name, by in busy.items()
        )
        pids = dict.fromkeys(process.pid for by in busy.values() for process in by)
        return Check("cameras", "warn", f"{found}; {who}", f"kill {' '.join(map(str, pids))}")
    return Check("cameras", "ok", found + _what_is_unknown(held))


def _what_is_unknown(held: Holders) -> str:
    if not held.unseen:
        return ", not in use"
    return f"; {held.unseen} processes of other users were not checked (the check requires root)"


_DAEMON = "nvargus-daemon"
_RESTART = f"sudo systemctl restart {_DAEMON}"
_START = f"sudo systemctl enable --now {_DAEMON}"
_SENSOR = "vi-output"
_STUCK = {
    "D": "waits in the kernel (state D)",
    "T": "is stopped (state T)",
    "Z": "is a zombie (state Z)",
}


def check_argus(machine: Machine) -> Check | None:
    """Check whether nvargus-daemon runs. Without this daemon, CSI cameras deliver no frames."""
    if machine.jetson is None:
        return None
    said = machine.answer(["systemctl", "is-active", _DAEMON])
    running = [p for p in processes(machine) if p.name == _DAEMON]
    for process in running:
        if why := _STUCK.get(_state(machine, process.pid)):
            return Check(_DAEMON, "warn", f"stuck: {process} {why}", _RESTART)
    if said in ("failed", "activating", "deactivating", "reloading"):
        return Check(_DAEMON, "warn", f"not running; state in systemd: {said}", _RESTART)
    if said == "active" or (not said and running):
        found = f"running; if cameras deliver no frames, run: {_RESTART}"
        return Check(_DAEMON, "ok", found)
    found = "not running" + (f"; state in systemd: {said}" if said else "")
    return Check(_DAEMON, "missing", found, _START)


def check_csi(machine: Machine) -> Check | None:
    """Check whether the kernel found a camera sensor on a CSI connector."""
    if machine.jetson is None:
        return None
    sensors = []
    for device in video_devices(machine):
        name = machine.text(f"/sys/class/video4linux/{device.name}/name") or ""
        # The driver sets a name such as "vi-output, imx219 9-0010".
        if name.startswith(_SENSOR):
            sensors.append(f"{name.removeprefix(_SENSOR).strip(' ,')} at /dev/{device.name}")
    if not sensors:
        fix = (
            "sudo /opt/nvidia/jetson-io/jetson-io.py (select the camera, then reboot; if it is "
            "still missing, switch the power off and check the ribbon cable)"
        )
        return Check("CSI cameras", "missing", "no sensor on a CSI connector", fix)
    addresses = " and ".join(f"csi://{number}" for number in range(len(sensors)))
    found = f"{', '.join(sensors)}; use {addresses} (/dev/video* delivers raw Bayer frames)"
    return Check("CSI cameras", "ok", found)


def _state(machine: Machine, pid: int) -> str:
    # The format is "123 (name) S ...". The name may contain spaces and brackets.
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
    """Check that a virtual camera is writable, visible in browsers and present after a reboot."""
    writer = [] if machine.version("pyvirtualcam") else [PYVIRTUALCAM]
    keeping = [] if _is_kept(machine) else [KEEP]
    if not machine.at("/sys/module/v4l2loopback").is_dir():
        fixes = [*_install(machine), LOAD, *keeping, *writer]
        found = "v4l2loopback is not loaded; needed only for v4l2loopback:// outputs"
        return Check(_NAME, "missing", found, "\n".join(fixes))
    devices = virtual_devices(machine)
    if not devices:
        fixes = [UNLOAD, LOAD, *keeping, *writer]
        return Check(_NAME, "missing", "v4l2loopback has no device", "\n".join(fixes))
    found = ", ".join(_shown(machine, device) for device in devices)
    if open_ := [d for d in devices if not _is_exclusive(machine, d, devices)]:
        found += f"; without exclusive_caps=1, browsers do not list {', '.join(open_)}"
        return Check(_NAME, "warn", found, "\n".join([UNLOAD, LOAD, *keeping, *writer]))
    if writer:
        return Check(_NAME, "missing", f"{found}; pyvirtualcam is not installed", PYVIRTUALCAM)
    if keeping:
        return Check(_NAME, "warn", f"{found}; not loaded after a reboot", KEEP)
    return Check(_NAME, "ok", f"{found}, exclusive_caps=1, loaded after a reboot")


def _shown(machine: Machine, device: str) -> str:
    name = machine.text(f"/sys/devices/virtual/video4linux/{device}/name")
    return f"/dev/{device}" + (f" ({name})" if name else "")


def _install(machine: Machine) -> list[str]:
    """Return the command that installs the kernel module v4l2loopback.

    If the module is already installed, the list is empty.
    """
    release = machine.text("/proc/sys/kernel/osrelease") or ""
    if "v4l2loopback.ko" in (machine.text(f"/lib/modules/{release}/modules.dep") or ""):
        return []
    headers = "nvidia-l4t-kernel-headers" if machine.jetson else f"linux-headers-{release}"
    return [f"{INSTALL} {headers}"]


def _is_exclusive(machine: Machine, device: str, devices: list[str]) -> bool:
    """Return whether a device has the option `exclusive_caps=1`.

    Each option of the module is a list with one entry per device. The entries have the order in
    which the module created the devices.
    """
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


_DIST_PACKAGES = "/usr/lib/python3/dist-packages"

ENCODERS = ("nvv4l2h264enc", "x264enc")
"""Names of the encoders, as in `media/live/rtsp_server.py`. That module cannot be imported here,
because it needs packages that may be missing. A test checks that the two modules contain equal
names."""

_BASE = "gstreamer1.0-plugins-base"
_NVIDIA = "nvidia-l4t-gstreamer"
_PACKAGE_OF = {
    "appsink": _BASE,
    "appsrc": _BASE,
    "videoconvert": _BASE,
    "rtph264pay": "gstreamer1.0-plugins-good",
    "x264enc": "gstreamer1.0-plugins-ugly",
    "nvarguscamerasrc": _NVIDIA,
    "nvvidconv": _NVIDIA,
}
_CSI = ("nvarguscamerasrc", "nvvidconv", "videoconvert", "appsink")
_RTSP = ("appsrc", "videoconvert", "rtph264pay")


def check_gstreamer(machine: Machine) -> Check:
    """Check whether this Python can use GStreamer.

    On a Jetson, also check the GStreamer elements that `csi://` needs.
    """
    try:
        machine.import_("gi")
    except ImportError as error:
        return _without_bindings(machine, error)
    try:
        gst = machine.gstreamer(serving=False).gst
    except Exception as error:  # noqa: BLE001 - errors of gi and GLib have no common base
        fix = f"sudo apt install gir1.2-gstreamer-1.0 {_BASE}"
        return Check("GStreamer", "missing", f"cannot be used: {_reason(error)}", fix)
    version = ".".join(str(part) for part in gst.version()[:3])
    wanted = _CSI if machine.jetson else ("videoconvert", "appsink")
    missing = [name for name in wanted if gst.ElementFactory.find(name) is None]
    if not missing:
        return Check("GStreamer", "ok", version + (", supports csi://" if machine.jetson else ""))
    fix = _packages(missing)
    if _NVIDIA in fix:
        # After a failure, GStreamer loads a plugin again only if its registry is deleted.
        fix += "\nrm -f ~/.cache/gstreamer-1.0/registry.*.bin"
    return Check("GStreamer", "warn", f"{version}; missing elements: {', '.join(missing)}", fix)


def check_rtsp_output(machine: Machine) -> Check:
    """Check whether this machine can serve an `rtsp://` output."""
    try:
        machine.import_("gi")
    except ImportError:
        return Check("RTSP output", "missing", "requires GStreamer", "fix GStreamer first")
    try:
        gst = machine.gstreamer(serving=True).gst
    except Exception as error:  # noqa: BLE001 - as above
        fix = f"sudo apt install gir1.2-gst-rtsp-server-1.0 {_BASE} {_PACKAGE_OF['x264enc']}"
        return Check("RTSP output", "missing", f"cannot be served: {_reason(error)}", fix)
    missing = [name for name in _RTSP if gst.ElementFactory.find(name) is None]
    encoders = [name for name in ENCODERS if gst.ElementFactory.find(name) is not None]
    if not encoders:
        missing.append("x264enc")
    if missing:
        found = f"missing elements of GStreamer: {', '.join(missing)}"
        return Check("RTSP output", "missing", found, _packages(missing))
    if encoders[0] == ENCODERS[0] and "Orin Nano" in machine.model:
        found = f"{encoders[0]} would be used, but an Orin Nano has no hardware encoder"
        return Check("RTSP output", "warn", found, "write a file or v4l2loopback:// instead")
    return Check("RTSP output", "ok", f"H.264 encoder: {encoders[0]}")


def _without_bindings(machine: Machine, error: ImportError) -> Check:
    """Return the result for a Python that cannot import PyGObject.

    PyGObject is a package of the system's Python. The package is compiled for the version of the
    system's Python. To import PyGObject, a virtual environment needs access to the system's
    packages.
    """
    wanted = f"cpython-{machine.python[0]}{machine.python[1]}-"
    compiled = [f.name for f in machine.at(_DIST_PACKAGES).glob("gi/_gi.cpython-*.so")]
    if not compiled:
        fix = f"sudo apt install python3-gi gir1.2-gstreamer-1.0 {_BASE}"
        if _is_closed(machine):
            fix += f"\n{_opened(machine)}"
        found = (
            f"PyGObject is not installed ({error}); needed only for csi:// inputs and rtsp:// "
            "outputs"
        )
        return Check("GStreamer", "missing", found, fix)
    if not any(wanted in name for name in compiled):
        theirs = ", ".join(sorted(_python_of(name) for name in compiled))
        ours = f"{machine.python[0]}.{machine.python[1]}"
        found = f"PyGObject is installed for the system's Python {theirs}; this is Python {ours}"
        fix = (
            "sudo apt install gcc pkg-config libcairo2-dev libgirepository1.0-dev\n"
            "pip install 'PyGObject<3.47'"
        )
        return Check("GStreamer", "missing", found, fix)
    if machine.is_venv:
        found = (
            "PyGObject is installed for the system's Python; this virtual environment has no "
            "access to it"
        )
        return Check("GStreamer", "missing", found, _opened(machine))
    fix = "sudo apt install --reinstall python3-gi"
    return Check("GStreamer", "missing", f"PyGObject cannot be imported: {error}", fix)


def _is_closed(machine: Machine) -> bool:
    configured = machine.text(f"{machine.prefix}/pyvenv.cfg") or ""
    return machine.is_venv and "include-system-site-packages = true" not in configured


def _opened(machine: Machine) -> str:
    """Return the command that gives a virtual environment access to the system's packages."""
    if machine.base_prefix != "/usr":
        return "/usr/bin/python3 -m venv --system-site-packages VENV, then install mggr-tf in it"
    return (
        "sed -i 's/^include-system-site-packages = false/include-system-site-packages = true/' "
        f"{machine.prefix}/pyvenv.cfg"
    )


def _packages(elements: list[str]) -> str:
    return f"sudo apt install {' '.join(dict.fromkeys(_PACKAGE_OF[name] for name in elements))}"


def _python_of(file: str) -> str:
    tag = file.partition("cpython-")[2].partition("-")[0]
    return f"{tag[:1]}.{tag[1:]}"


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error)
