"""GStreamer: Python's bindings to it, and the elements that csi:// and rtsp:// are made of."""

from __future__ import annotations

from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine

_DIST_PACKAGES = "/usr/lib/python3/dist-packages"

ENCODERS = ("nvv4l2h264enc", "x264enc")
"""As in `live/rtsp_server.py`, which cannot be imported on a bare machine; a test compares."""

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
    """Whether this Python has it, and on a Jetson what csi:// takes."""
    try:
        machine.import_("gi")
    except ImportError as error:
        return _without_bindings(machine, error)
    try:
        gst = machine.gstreamer(serving=False).gst
    except Exception as error:  # noqa: BLE001 - ours, gi's and GLib's errors have no common parent
        fix = f"sudo apt install gir1.2-gstreamer-1.0 {_BASE}"
        return Check("GStreamer", "missing", f"cannot be used: {_reason(error)}", fix)
    version = ".".join(str(part) for part in gst.version()[:3])
    wanted = _CSI if machine.jetson else ("videoconvert", "appsink")
    missing = [name for name in wanted if gst.ElementFactory.find(name) is None]
    if not missing:
        return Check("GStreamer", "ok", version + (", reads csi://" if machine.jetson else ""))
    fix = _packages(missing)
    if _NVIDIA in fix:
        # What could not be loaded once is not tried again while the list of plugins lasts.
        fix += "\nrm -f ~/.cache/gstreamer-1.0/registry.*.bin"
    return Check("GStreamer", "warn", f"{version}, without {', '.join(missing)}", fix)


def check_rtsp_output(machine: Machine) -> Check:
    """Whether rtsp:// can be served from here."""
    try:
        machine.import_("gi")
    except ImportError:
        return Check("RTSP output", "missing", "needs GStreamer", "fix GStreamer first")
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
        found = f"GStreamer lacks {', '.join(missing)}"
        return Check("RTSP output", "missing", found, _packages(missing))
    if encoders[0] == ENCODERS[0] and "Orin Nano" in machine.model:
        found = f"{encoders[0]} is taken, and an Orin Nano has no hardware that encodes"
        return Check("RTSP output", "warn", found, "write a file or v4l2loopback:// instead")
    return Check("RTSP output", "ok", f"H.264 by {encoders[0]}")


def _without_bindings(machine: Machine, error: ImportError) -> Check:
    """PyGObject belongs to the system's Python: compiled for it, and outside environments."""
    wanted = f"cpython-{machine.python[0]}{machine.python[1]}-"
    compiled = [f.name for f in machine.at(_DIST_PACKAGES).glob("gi/_gi.cpython-*.so")]
    if not compiled:
        fix = f"sudo apt install python3-gi gir1.2-gstreamer-1.0 {_BASE}"
        if _is_closed(machine):
            fix += f"\n{_opened(machine)}"
        found = f"no PyGObject ({error}); only csi:// and rtsp:// outputs need it"
        return Check("GStreamer", "missing", found, fix)
    if not any(wanted in name for name in compiled):
        theirs = ", ".join(sorted(_python_of(name) for name in compiled))
        ours = f"{machine.python[0]}.{machine.python[1]}"
        found = f"PyGObject is there for the system's Python {theirs}, and this is {ours}"
        fix = (
            "sudo apt install gcc pkg-config libcairo2-dev libgirepository1.0-dev\n"
            "pip install 'PyGObject<3.47'"
        )
        return Check("GStreamer", "missing", found, fix)
    if machine.is_venv:
        found = "PyGObject belongs to the system's Python, which this environment does not see"
        return Check("GStreamer", "missing", found, _opened(machine))
    fix = "sudo apt install --reinstall python3-gi"
    return Check("GStreamer", "missing", f"PyGObject is there and fails: {error}", fix)


def _is_closed(machine: Machine) -> bool:
    configured = machine.text(f"{machine.prefix}/pyvenv.cfg") or ""
    return machine.is_venv and "include-system-site-packages = true" not in configured


def _opened(machine: Machine) -> str:
    """Lets an environment that was made from the system's Python see its packages."""
    if machine.base_prefix != "/usr":
        return "/usr/bin/python3 -m venv --system-site-packages VENV, and install mggr-tf there"
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
