"""OpenCV: which build, and whether several lie over each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType

from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine
from mggr_edge.tools.doctor.python import is_two

_DISTRIBUTIONS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_FROM_PIP = "pip install 'opencv-python-headless>=4.8,<4.12'"
_FROM_JETPACK = (
    "sudo apt install nvidia-opencv (JetPack's own; in a venv: --system-site-packages), "
    f"or {_FROM_PIP}"
)


def check_opencv(machine: Machine) -> Check:
    """Whether it can be imported, and whose it is."""
    builds = [name for name in _DISTRIBUTIONS if machine.version(name) is not None]
    try:
        cv2 = machine.import_("cv2")
    except (ImportError, AttributeError) as error:
        return Check(
            "OpenCV",
            "missing",
            f"cannot be imported: {error}",
            _mend_of_import(machine, builds),
            needed=True,
        )
    found = f"{cv2.__version__}, {_build(cv2)}, {_origin(cv2, builds)}"
    if machine.jetson and builds:
        found += ", which hides JetPack's own and its GStreamer"
        fix = f"pip uninstall -y {' '.join(builds)}"
        return Check("OpenCV", "warn", found, fix, needed=True)
    if len(builds) > 1:
        found += ", several over each other"
        return Check("OpenCV", "warn", found, _leave_one(builds), needed=True)
    return Check("OpenCV", "ok", found, needed=True)


def _mend_of_import(machine: Machine, builds: Sequence[str]) -> str:
    numpy = machine.version("numpy")
    if not builds and is_two(numpy) and _system_opencvs(machine):
        # What a system brings was built with its own, older numpy, and does not load beside 2.
        return f"pip install 'numpy<2' (the system's OpenCV was built with numpy 1, not {numpy})"
    return _FROM_JETPACK if machine.jetson else _FROM_PIP


def _system_opencvs(machine: Machine) -> list[str]:
    folders = ("lib/python3/dist-packages", "lib/python3.*/dist-packages")
    return [str(p) for folder in folders for p in machine.at("/usr").glob(f"{folder}/cv2*")]


def _build(cv2: ModuleType) -> str:
    lines = cv2.getBuildInformation().splitlines()
    gstreamer = any(re.match(r"\s*GStreamer:\s*YES", line) for line in lines)
    headless = any(re.match(r"\s*GUI:\s*NONE", line) for line in lines)
    return f"GStreamer {'yes' if gstreamer else 'no'}, {'headless' if headless else 'with windows'}"


def _origin(cv2: ModuleType, builds: Sequence[str]) -> str:
    return f"from {', '.join(builds)}" if builds else f"the system's, in {cv2.__file__}"


def _leave_one(builds: Sequence[str]) -> str:
    # They write into the same folder, so removing one breaks the other: remove all, add one.
    return f"pip uninstall -y {' '.join(builds)} && {_FROM_PIP}"
