"""What this machine has, and the line that mends what is missing.

Every check looks at one thing and returns one `Check`. Nothing is installed,
opened or changed, and a machine with nothing but numpy and click can run it.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from mggr_edge.errors import BundleError, MissingPackageError

State = Literal["ok", "warn", "missing"]

_OLDEST_PYTHON = (3, 10)
_JETSON_RELEASE = Path("/etc/nv_tegra_release")
_DEVICES = Path("/dev")
_OPENCV_DISTRIBUTIONS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked for.
        state: "ok", "warn" (works, with a catch) or "missing".
        found: what is there.
        mend: the line that mends it; None where there is nothing to do.
        needed: `mggr-edge run` on files cannot work without it.
    """

    name: str
    state: State
    found: str
    mend: str | None = None
    needed: bool = False

    def as_json(self) -> dict[str, Any]:
        """The check as JSON's types."""
        return asdict(self)


def examine() -> tuple[Check, ...]:
    """Looks at everything, in the order in which things build on each other."""
    return tuple(check() for check in CHECKS)


def is_able(checks: Sequence[Check]) -> bool:
    """Whether `mggr-edge run` can work on pictures and videos."""
    return not any(check.needed and check.state == "missing" for check in checks)


def report(checks: Sequence[Check]) -> str:
    """The checks as lines for people."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<7}  {check.name:<{width}}  {check.found}")
        if check.mend:
            lines.append(f"{'':<7}  {'':<{width}}  -> {check.mend}")
    verdict = "can" if is_able(checks) else "cannot"
    return "\n".join((*lines, f"mggr-edge run {verdict} work on pictures and videos here"))


def check_python() -> Check:
    """Python and the machine under it."""
    machine = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    found = f"{machine}, {jetson}" if (jetson := _jetson_release()) else machine
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Check("Python", "missing", found, "install Python 3.10 or newer", needed=True)
    return Check("Python", "ok", found, needed=True)


def check_numpy() -> Check:
    """numpy, which tflite-runtime wants below 2."""
    version = _version("numpy")
    if version is None:
        return Check("numpy", "missing", "not installed", "pip install numpy", needed=True)
    if int(version.split(".")[0]) >= 2 and _only_tflite_runtime(_interpreters()):
        found = f"{version}, with which tflite-runtime fails"
        return Check("numpy", "missing", found, "pip install 'numpy<2'", needed=True)
    return Check("numpy", "ok", version, needed=True)


def check_interpreter() -> Check:
    """The interpreter that runs the models."""
    installed = _interpreters()
    if installed is None:
        found = "cannot be told before OpenCV is there"
        return Check("interpreter", "missing", found, "mend OpenCV first", needed=True)
    if not installed:
        mend = "pip install 'ai-edge-litert>=2.0'"
        return Check("interpreter", "missing", "none", mend, needed=True)
    name, version = next(iter(installed.items()))
    try:
        _import(f"{name.replace('-', '_')}.interpreter")
    except ImportError as error:
        mend = f"pip install --force-reinstall {name}"
        found = f"{name} {version} cannot be imported: {error}"
        return Check("interpreter", "missing", found, mend, needed=True)
    others = [f"{n} {v}" for n, v in installed.items() if n != name]
    found = f"{name} {version}" + (f" (also installed: {', '.join(others)})" if others else "")
    if _only_tflite_runtime(installed):
        mend = "pip install 'ai-edge-litert>=2.0', which runs int8 models several times faster"
        return Check("interpreter", "warn", found, mend, needed=True)
    return Check("interpreter", "ok", found, needed=True)


def check_opencv() -> Check:
    """OpenCV: which build, and whether several lie over each other."""
    is_jetson = _jetson_release() is not None
    pip_builds = [name for name in _OPENCV_DISTRIBUTIONS if _version(name) is not None]
    try:
        cv2 = _import("cv2")
    except ImportError as error:
        mend = (
            "sudo apt install python3-opencv (JetPack's own; in a venv: --system-site-packages)"
            if is_jetson
            else "pip install 'opencv-python-headless>=4.8,<4.12'"
        )
        return Check("OpenCV", "missing", f"cannot be imported: {error}", mend, needed=True)
    found = f"{cv2.__version__}, {_opencv_build(cv2)}, {_origin(cv2, pip_builds)}"
    if is_jetson and pip_builds:
        found += ", which hides JetPack's own and its GStreamer"
        mend = f"pip uninstall -y {' '.join(pip_builds)}"
        return Check("OpenCV", "warn", found, mend, needed=True)
    if len(pip_builds) > 1:
        found += ", several over each other"
        return Check("OpenCV", "warn", found, _leave_one_opencv(pip_builds), needed=True)
    return Check("OpenCV", "ok", found, needed=True)


def check_pyav() -> Check:
    """PyAV, which reads and writes videos."""
    try:
        av = _import("av")
    except ImportError as error:
        found = f"cannot be imported: {error}"
        return Check("PyAV", "missing", found, "pip install 'av>=16'", needed=True)
    found = f"{av.__version__} (FFmpeg's libavcodec {_dotted(av.library_versions['libavcodec'])})"
    if int(av.__version__.split(".")[0]) < 16:
        return Check("PyAV", "missing", f"{found}, too old", "pip install 'av>=16'", needed=True)
    if "libx264" not in av.codecs_available:
        mend = "pip install --force-reinstall --only-binary=:all: 'av>=16'"
        return Check("PyAV", "missing", f"{found}, cannot encode H.264", mend, needed=True)
    return Check("PyAV", "ok", f"{found}, encodes H.264", needed=True)


def check_landmark_models() -> Check:
    """MediaPipe's face models, outside a bundle."""
    from mggr_edge.landmark_models import find_landmark_models

    try:
        models = find_landmark_models()
    except MissingPackageError as error:
        what, _, mend = str(error).partition("; ")
        return Check("landmark models", "missing", what, mend)
    folder = next(iter(models.values())).parent
    return Check("landmark models", "ok", f"{', '.join(models)} in {folder}")


def check_own_weights() -> Check:
    """What `mggr-edge run` takes where no bundle is named."""
    from mggr_edge.default_bundle import NAMES, bundle_path
    from mggr_edge.landmark_models import find_landmark_models

    try:
        for name in NAMES:
            bundle_path(name)
        find_landmark_models()
    except MissingPackageError as error:
        _, _, mend = str(error).partition("; ")
        return Check("own weights", "missing", "they need the landmark models", mend)
    except BundleError:
        mend = "name a bundle: mggr-edge run INPUT --model BUNDLE"
        return Check("own weights", "missing", "none in this installation", mend)
    return Check("own weights", "ok", f"{' and '.join(NAMES)}: --model is not needed")


def check_cameras() -> Check:
    """Cameras, and whether this user may read them."""
    devices = sorted(_DEVICES.glob("video*"))
    if not devices:
        return Check("cameras", "missing", "no /dev/video*; files and streams do without")
    closed = [d.name for d in devices if not os.access(d, os.R_OK | os.W_OK)]
    found = ", ".join(f"/dev/{d.name}" for d in devices)
    if closed:
        mend = 'sudo usermod -aG video "$USER", then log in again'
        return Check("cameras", "warn", f"{found}; no permission for {', '.join(closed)}", mend)
    return Check("cameras", "ok", found)


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_numpy,
    check_interpreter,
    check_opencv,
    check_pyav,
    check_landmark_models,
    check_own_weights,
    check_cameras,
)


def _import(name: str) -> ModuleType:
    return importlib.import_module(name)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _interpreters() -> dict[str, str] | None:
    """Best first; None when the seam that knows them cannot be imported."""
    try:
        from mggr_edge.interpreters import available_interpreters
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        return None
    return available_interpreters()


def _only_tflite_runtime(installed: dict[str, str] | None) -> bool:
    return list(installed or ()) == ["tflite-runtime"]


def _jetson_release() -> str | None:
    try:
        line = _JETSON_RELEASE.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return None
    # "# R35 (release), REVISION: 4.1, GCID: ..." -> "Jetson L4T R35.4.1"
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", line)
    return f"Jetson L4T R{match[1]}.{match[2]}" if match else "Jetson"


def _opencv_build(cv2: ModuleType) -> str:
    lines = cv2.getBuildInformation().splitlines()
    gstreamer = any(re.match(r"\s*GStreamer:\s*YES", line) for line in lines)
    headless = any(re.match(r"\s*GUI:\s*NONE", line) for line in lines)
    return f"GStreamer {'yes' if gstreamer else 'no'}, {'headless' if headless else 'with windows'}"


def _origin(cv2: ModuleType, pip_builds: Sequence[str]) -> str:
    return f"from {', '.join(pip_builds)}" if pip_builds else f"the system's, in {cv2.__file__}"


def _leave_one_opencv(pip_builds: Sequence[str]) -> str:
    # They write into the same folder, so removing one breaks the other: remove all, add one.
    return (
        f"pip uninstall -y {' '.join(pip_builds)} "
        "&& pip install 'opencv-python-headless>=4.8,<4.12'"
    )


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)
