"""Check Python, its packages, the installed models, and TensorRT with its engines."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.media.files.picture_pixels import OLDEST_PILLOW
from mggr_edge.models.tensorrt.build_options import OLDEST, dotted, parse_version
from mggr_edge.models.tensorrt.cache import EngineKey, keys_in
from mggr_edge.tools.doctor.machine import Check, Machine

_OLDEST_PYTHON = (3, 10)
_MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "opencv": "cv2",
}
"""Runtime that can run the face models -> module to import. ONNX Runtime cannot run them."""


def check_python(machine: Machine) -> Check:
    """Check the Python version, and report the system and the architecture."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if machine.jetson:
        found += f", {machine.jetson}"
    if machine.python < _OLDEST_PYTHON:
        return Check("Python", "missing", found, "install Python 3.10 or newer", needed=True)
    return Check("Python", "ok", found, needed=True)


def check_numpy(machine: Machine) -> Check:
    """Check numpy. If tflite-runtime is the best interpreter, numpy must be older than 2."""
    version = machine.version("numpy")
    if version is None:
        return Check("numpy", "missing", "not installed", "pip install numpy", needed=True)
    if is_two(version) and _uses_tflite_runtime(machine.interpreters()):
        found = f"{version}, which tflite-runtime does not support"
        return Check("numpy", "missing", found, "pip install 'numpy<2'", needed=True)
    return Check("numpy", "ok", version, needed=True)


def check_interpreter(machine: Machine) -> Check:
    """Check the interpreter that runs the models."""
    installed = machine.interpreters()
    if installed is None:
        found = "not checked, because numpy or OpenCV is not installed"
        fix = "install numpy and OpenCV first"
        return Check("interpreter", "missing", found, fix, needed=True)
    usable = [name for name in installed if name in _MODULES]
    if not usable:
        fix = "pip install 'ai-edge-litert>=2.0'"
        others = ", ".join(f"{name} {version}" for name, version in installed.items())
        found = f"{others} cannot run the face models" if others else "not installed"
        return Check("interpreter", "missing", found, fix, needed=True)
    name = usable[0]
    version = installed[name]
    try:
        machine.import_(_MODULES[name])
    except ImportError as error:
        fix = f"pip install --force-reinstall {name}"
        found = f"{name} {version} cannot be imported: {error}"
        return Check("interpreter", "missing", found, fix, needed=True)
    others = ", ".join(f"{n} {v}" for n, v in installed.items() if n != name)
    found = f"{name} {version}" + (f" (also installed: {others})" if others else "")
    if name == "tflite-runtime":
        fix = "pip install 'ai-edge-litert>=2.0', which runs int8 models several times faster"
        return Check("interpreter", "warn", found, fix, needed=True)
    return Check("interpreter", "ok", found, needed=True)


def check_pyav(machine: Machine) -> Check:
    """Check PyAV, which reads and writes videos."""
    try:
        av = machine.import_("av")
    except ImportError as error:
        found = f"cannot be imported: {error}"
        return Check("PyAV", "missing", found, "pip install 'av>=16,<20'", needed=True)
    found = f"{av.__version__} (FFmpeg's libavcodec {_dotted(av.library_versions['libavcodec'])})"
    if int(av.__version__.split(".")[0]) < 16:
        fix = "pip install 'av>=16,<20'"
        return Check("PyAV", "missing", f"{found}, too old", fix, needed=True)
    if "libx264" not in av.codecs_available:
        fix = "pip install --force-reinstall --only-binary=:all: 'av>=16,<20'"
        return Check("PyAV", "missing", f"{found}, cannot encode H.264", fix, needed=True)
    return Check("PyAV", "ok", f"{found}, encodes H.264", needed=True)


def check_pillow(machine: Machine) -> Check:
    """Check Pillow, which reads and writes pictures."""
    fix = "pip install 'pillow>=11.3'"
    try:
        version = machine.import_("PIL").__version__
    except ImportError as error:
        return Check("Pillow", "missing", f"cannot be imported: {error}", fix, needed=True)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PILLOW:
        return Check("Pillow", "missing", f"{version}, too old", fix, needed=True)
    return Check("Pillow", "ok", version, needed=True)


def is_two(numpy_version: str | None) -> bool:
    """Return whether a numpy version is at least 2. Old binary packages do not support numpy 2."""
    return numpy_version is not None and int(numpy_version.split(".")[0]) >= 2


def _uses_tflite_runtime(installed: dict[str, str] | None) -> bool:
    return next(iter(installed or ()), None) == "tflite-runtime"


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)


_DISTRIBUTIONS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_JETPACK = "sudo apt install nvidia-opencv (JetPack's package; a venv needs --system-site-packages)"
_NUMPY_2_PYTHON = (3, 12)
"""From this Python version, the extra `edge` installs an OpenCV that needs numpy 2."""


def check_opencv(machine: Machine) -> Check:
    """Check whether OpenCV can be imported, and which package contains it."""
    builds = [name for name in _DISTRIBUTIONS if machine.version(name) is not None]
    try:
        cv2 = machine.import_("cv2")
    except (ImportError, AttributeError) as error:
        return Check(
            "OpenCV",
            "missing",
            f"cannot be imported: {error}",
            _fix_of_import(machine, builds),
            needed=True,
        )
    found = f"{cv2.__version__}, {_build(cv2)}, {_origin(cv2, builds)}"
    if machine.jetson and builds:
        found += "; it hides JetPack's OpenCV, which supports GStreamer"
        fix = f"pip uninstall -y {' '.join(builds)}"
        return Check("OpenCV", "warn", found, fix, needed=True)
    if len(builds) > 1:
        found += "; these packages overwrite each other"
        return Check("OpenCV", "warn", found, _leave_one(machine, builds), needed=True)
    return Check("OpenCV", "ok", found, needed=True)


def _fix_of_import(machine: Machine, builds: Sequence[str]) -> str:
    numpy = machine.version("numpy")
    if not builds and is_two(numpy) and _system_opencvs(machine):
        # The system's OpenCV was built with an older numpy, and cannot be imported with numpy 2.
        return f"pip install 'numpy<2' (the system's OpenCV was built with numpy 1, not {numpy})"
    return f"{_JETPACK}, or {_from_pip(machine)}" if machine.jetson else _from_pip(machine)


def _from_pip(machine: Machine) -> str:
    """Return the command that installs OpenCV from PyPI, as the extra `edge` does."""
    versions = ">=4.13,<6" if machine.python >= _NUMPY_2_PYTHON else ">=4.8,<4.12"
    return f"pip install 'opencv-python-headless{versions}'"


def _system_opencvs(machine: Machine) -> list[str]:
    folders = ("lib/python3/dist-packages", "lib/python3.*/dist-packages")
    return [str(p) for folder in folders for p in machine.at("/usr").glob(f"{folder}/cv2*")]


def _build(cv2: ModuleType) -> str:
    lines = cv2.getBuildInformation().splitlines()
    gstreamer = any(re.match(r"\s*GStreamer:\s*YES", line) for line in lines)
    headless = any(re.match(r"\s*GUI:\s*NONE", line) for line in lines)
    return f"GStreamer {'yes' if gstreamer else 'no'}, {'headless' if headless else 'with windows'}"


def _origin(cv2: ModuleType, builds: Sequence[str]) -> str:
    return f"from {', '.join(builds)}" if builds else f"from the system ({cv2.__file__})"


def _leave_one(machine: Machine, builds: Sequence[str]) -> str:
    # All packages of OpenCV use the same folder. If one of them is removed, the others no longer
    # work. Therefore remove all of them and install one package again.
    return f"pip uninstall -y {' '.join(builds)} && {_from_pip(machine)}"


_NAME = "TensorRT"
_INSTALL = "sudo apt install python3-libnvinfer"
_VISIBLE = f"{_INSTALL}, in an environment created with --system-site-packages"


def check_tensorrt(machine: Machine) -> Check | None:
    """Check whether TensorRT engines can run, and whether the stored engines fit this machine."""
    folder = machine.engine_folder()
    keys = [] if folder is None else keys_in(folder)
    try:
        module = machine.import_("tensorrt")
    except ImportError as error:
        if not keys and machine.jetson is None:
            return None
        return _without_bindings(machine, error, engines=len(keys))
    version = parse_version(module.__version__)
    here = dotted(version)
    if version < OLDEST:
        found = f"{here} has no GridSample, which the models need; {dotted(OLDEST)} or newer has it"
        fix = "install JetPack 5.1 or newer, or use TFLite, which does not need TensorRT"
        return Check(_NAME, "warn", found, fix)
    if not keys:
        found = f"{here}; no engines are built, so the models run on the CPU"
        fix = "mggr-edge build-engine BUNDLE --int8 (requires a bundle with ONNX files)"
        return Check(_NAME, "missing", found, fix)
    gpu = machine.gpu_name()
    stale = [key for key in keys if not _has_fitting(keys, key, here, gpu)]
    if stale:
        theirs = ", ".join(dict.fromkeys(f"TensorRT {k.tensorrt} on {k.gpu}" for k in stale))
        found = f"{len(stale)} engines were built for {theirs}; this is TensorRT {here} on {gpu}"
        return Check(
            _NAME, "warn", found, "\n".join(dict.fromkeys(key.build_command() for key in stale))
        )
    fitting = [key for key in keys if (key.tensorrt, key.gpu) == (here, gpu)]
    return Check(_NAME, "ok", f"{here}, {len(fitting)} engines for {gpu}")


def _without_bindings(machine: Machine, error: ImportError, *, engines: int) -> Check:
    built = f"{engines} engines are built but not used" if engines else "models run on the CPU"
    folders = machine.at("/usr/lib").glob("python3*/dist-packages/tensorrt")
    if theirs := sorted(folder.parts[-3].removeprefix("python") for folder in folders):
        ours = f"{machine.python[0]}.{machine.python[1]}"
        if ours not in theirs and "3" not in theirs:
            found = (
                f"installed for the system's Python {', '.join(theirs)}; this is Python {ours}; "
                f"{built}"
            )
            return Check(_NAME, "warn", found, "use that Python if it is 3.10 or newer")
    return Check(_NAME, "warn", f"cannot be imported ({error}); {built}", _VISIBLE)


def _has_fitting(keys: list[EngineKey], key: EngineKey, version: str, gpu: str) -> bool:
    """Return whether the model of an engine also has an engine for this machine."""
    return replace(key, tensorrt=version, gpu=gpu) in keys


def check_landmark_models(machine: Machine) -> Check:
    """Check the face models of MediaPipe. Bundles without face models need these models."""
    from mggr_edge.models.installed import find_landmark_models

    try:
        models = find_landmark_models()
    except MissingPackageError as error:
        what = f"{error.fields['package']} is not installed"
        return Check("landmark models", "missing", what, f"run: {error.fields['command']}")
    folder = next(iter(models.values())).parent
    return Check("landmark models", "ok", f"{', '.join(models)} in {folder}")


def check_own_weights(machine: Machine) -> Check:
    """Check the packaged weights. If no bundle is named, `mggr-edge run` uses these weights."""
    from mggr_edge.models.installed import NAMES, bundle_path, find_landmark_models

    try:
        for name in NAMES:
            bundle_path(name)
        find_landmark_models()
    except MissingPackageError as error:
        fix = f"run: {error.fields['command']}"
        return Check("own weights", "missing", "requires the landmark models", fix)
    except BundleError:
        fix = "pass a bundle: mggr-edge run INPUT --model BUNDLE"
        return Check("own weights", "missing", "this installation contains no weights", fix)
    return Check("own weights", "ok", f"{' and '.join(NAMES)}; --model is optional")
