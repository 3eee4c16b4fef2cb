"""Python, and the packages that every run needs."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from mggr_edge.media.files.pillow import OLDEST_PILLOW
from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine

_OLDEST_PYTHON = (3, 10)


def check_python(machine: Machine) -> Check:
    """Python and the machine under it."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if machine.jetson:
        found += f", {machine.jetson}"
    if machine.python < _OLDEST_PYTHON:
        return Check("Python", "missing", found, "install Python 3.10 or newer", needed=True)
    return Check("Python", "ok", found, needed=True)


def check_numpy(machine: Machine) -> Check:
    """numpy, which tflite-runtime wants below 2."""
    version = machine.version("numpy")
    if version is None:
        return Check("numpy", "missing", "not installed", "pip install numpy", needed=True)
    if is_two(version) and _only_tflite_runtime(machine.interpreters()):
        found = f"{version}, with which tflite-runtime fails"
        return Check("numpy", "missing", found, "pip install 'numpy<2'", needed=True)
    return Check("numpy", "ok", version, needed=True)


def check_interpreter(machine: Machine) -> Check:
    """The interpreter that runs the models."""
    installed = machine.interpreters()
    if installed is None:
        found = "unknown until numpy and OpenCV are installed"
        return Check("interpreter", "missing", found, "install them first", needed=True)
    if not installed:
        fix = "pip install 'ai-edge-litert>=2.0'"
        return Check("interpreter", "missing", "none", fix, needed=True)
    name, version = next(iter(installed.items()))
    try:
        machine.import_(f"{name.replace('-', '_')}.interpreter")
    except ImportError as error:
        fix = f"pip install --force-reinstall {name}"
        found = f"{name} {version} cannot be imported: {error}"
        return Check("interpreter", "missing", found, fix, needed=True)
    others = [f"{n} {v}" for n, v in installed.items() if n != name]
    found = f"{name} {version}" + (f" (also installed: {', '.join(others)})" if others else "")
    if _only_tflite_runtime(installed):
        fix = "pip install 'ai-edge-litert>=2.0', which runs int8 models several times faster"
        return Check("interpreter", "warn", found, fix, needed=True)
    return Check("interpreter", "ok", found, needed=True)


def check_pyav(machine: Machine) -> Check:
    """PyAV, which reads and writes videos."""
    try:
        av = machine.import_("av")
    except ImportError as error:
        found = f"cannot be imported: {error}"
        return Check("PyAV", "missing", found, "pip install 'av>=16,<19'", needed=True)
    found = f"{av.__version__} (FFmpeg's libavcodec {_dotted(av.library_versions['libavcodec'])})"
    if int(av.__version__.split(".")[0]) < 16:
        fix = "pip install 'av>=16,<19'"
        return Check("PyAV", "missing", f"{found}, too old", fix, needed=True)
    if "libx264" not in av.codecs_available:
        fix = "pip install --force-reinstall --only-binary=:all: 'av>=16,<19'"
        return Check("PyAV", "missing", f"{found}, cannot encode H.264", fix, needed=True)
    return Check("PyAV", "ok", f"{found}, encodes H.264", needed=True)


def check_pillow(machine: Machine) -> Check:
    """Pillow, which reads and writes pictures."""
    fix = "pip install 'pillow>=11.3'"
    try:
        version = machine.import_("PIL").__version__
    except ImportError as error:
        return Check("Pillow", "missing", f"cannot be imported: {error}", fix, needed=True)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PILLOW:
        return Check("Pillow", "missing", f"{version}, too old", fix, needed=True)
    return Check("Pillow", "ok", version, needed=True)


def is_two(numpy_version: str | None) -> bool:
    """Whether a numpy is one that older binaries do not load beside."""
    return numpy_version is not None and int(numpy_version.split(".")[0]) >= 2


def _only_tflite_runtime(installed: dict[str, str] | None) -> bool:
    return list(installed or ()) == ["tflite-runtime"]


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)
