"""Checks the installed models, and TensorRT with its engines."""

from __future__ import annotations

from dataclasses import replace

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.models.tensorrt.build_options import OLDEST, dotted, parse_version
from mggr_edge.models.tensorrt.cache import EngineKey, keys_in
from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine

_NAME = "TensorRT"
_INSTALL = "sudo apt install python3-libnvinfer"
_VISIBLE = f"{_INSTALL}, in an environment that was made with --system-site-packages"


def check_tensorrt(machine: Machine) -> Check | None:
    """Whether engines can be used here, and whether those in the cache are for this machine."""
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
        found = f"{here} has no GridSample, which the warp needs; {dotted(OLDEST)} is the oldest"
        return Check(_NAME, "warn", found, "install JetPack 5.1 or newer; TFLite does without")
    if not keys:
        found = f"{here}; no engines, the CPU computes"
        fix = "mggr-edge build-engine BUNDLE --int8 (of a bundle with ONNX files)"
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
    built = f"{engines} engines are built and not used" if engines else "the CPU computes"
    folders = machine.at("/usr/lib").glob("python3*/dist-packages/tensorrt")
    if theirs := sorted(folder.parts[-3].removeprefix("python") for folder in folders):
        ours = f"{machine.python[0]}.{machine.python[1]}"
        if ours not in theirs and "3" not in theirs:
            found = (
                f"there for the system's Python {', '.join(theirs)}, and this is {ours}; {built}"
            )
            return Check(_NAME, "warn", found, "use that Python where it is 3.10 or newer")
    return Check(_NAME, "warn", f"not seen by this Python ({error}); {built}", _VISIBLE)


def _has_fitting(keys: list[EngineKey], key: EngineKey, version: str, gpu: str) -> bool:
    """Whether the same model has an engine for this machine: older ones beside it do no harm."""
    return replace(key, tensorrt=version, gpu=gpu) in keys


def check_landmark_models(machine: Machine) -> Check:
    """MediaPipe's face models, outside a bundle."""
    from mggr_edge.models.installed import find_landmark_models

    try:
        models = find_landmark_models()
    except MissingPackageError as error:
        what, _, fix = str(error).partition("; ")
        return Check("landmark models", "missing", what, fix)
    folder = next(iter(models.values())).parent
    return Check("landmark models", "ok", f"{', '.join(models)} in {folder}")


def check_own_weights(machine: Machine) -> Check:
    """What `mggr-edge run` takes where no bundle is named."""
    from mggr_edge.models.installed import NAMES, bundle_path, find_landmark_models

    try:
        for name in NAMES:
            bundle_path(name)
        find_landmark_models()
    except MissingPackageError as error:
        _, _, fix = str(error).partition("; ")
        return Check("own weights", "missing", "they need the landmark models", fix)
    except BundleError:
        fix = "name a bundle: mggr-edge run INPUT --model BUNDLE"
        return Check("own weights", "missing", "none in this installation", fix)
    return Check("own weights", "ok", f"{' and '.join(NAMES)}: --model is not needed")
