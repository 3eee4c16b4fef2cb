"""Build engines with `trtexec`; JetPack installs it even without TensorRT's Python package."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from mggr_edge.errors import BundleError
from mggr_edge.models.tensorrt.build_options import Recipe

_PATIENCE_S = 60.0
"""Timeout of `trtexec --help` in seconds.

It takes many seconds to load the libraries of `trtexec` from a memory card.
"""

_JETPACK = Path("/usr/src/tensorrt/bin/trtexec")
_OPTIONS = {"FP16": "--fp16", "INT8": "--int8", "GPU_FALLBACK": "--allowGPUFallback"}


def find() -> Path | None:
    """Return the path of `trtexec` in PATH or in JetPack's folder, or `None` if it is not found."""
    found = shutil.which("trtexec")
    if found is not None:
        return Path(found)
    return _JETPACK if _JETPACK.is_file() else None


def version_of(program: Path) -> tuple[int, ...]:
    """Return the TensorRT version that `trtexec --help` prints.

    Raises:
        BundleError: the program cannot be started, exceeds the timeout, or prints no version.
    """
    try:
        done = subprocess.run(
            [program, "--help"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(
            f"{program} --help did not end within {_PATIENCE_S:g} seconds; run it by hand to find "
            "the reason",
            code="trtexec-timeout",
            program=program,
            timeout_s=_PATIENCE_S,
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"{program} cannot be started: {reason}",
            code="trtexec-not-startable",
            program=program,
            reason=reason,
        ) from error
    match = re.search(r"\[TensorRT v(\d+)\]", done.stdout)
    if match is None:
        raise BundleError(
            f"{program} --help does not print the version of TensorRT",
            code="trtexec-version-unknown",
            program=program,
        )
    return _version_of_number(int(match[1]))


def build(program: Path, onnx: bytes, recipe: Recipe, timing: bytes) -> tuple[bytes, bytes]:
    """Build an engine with `trtexec`, as `python_builder.build` does with the Python package.

    Args:
        program: the path of `trtexec`.
        onnx: the content of the ONNX file.
        recipe: the build options.
        timing: the timing cache of previous builds, possibly empty.

    Returns:
        (engine, updated timing cache).

    Raises:
        BundleError: `trtexec` failed. The message contains the last line that it printed.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(onnx)
        if timing:
            (folder / "timing").write_bytes(timing)
        command = [str(program), *arguments(folder, recipe)]
        # There is no timeout, because a build can take between seconds and an hour. Ctrl-C stops
        # `trtexec` together with this process.
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        engine = folder / "model.engine"
        if done.returncode != 0 or not engine.is_file():
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            reason = "".join(last) or f"exit code {done.returncode}"
            raise BundleError(
                f"trtexec did not build an engine: {reason}",
                code="engine-not-built",
                reason=reason,
            )
        cache = folder / "timing"
        return engine.read_bytes(), cache.read_bytes() if cache.is_file() else b""


def arguments(folder: Path, recipe: Recipe) -> list[str]:
    """Return the arguments of `trtexec` for the files in a folder."""
    return [
        f"--onnx={folder / 'model.onnx'}",
        f"--saveEngine={folder / 'model.engine'}",
        f"--timingCacheFile={folder / 'timing'}",
        "--skipInference",
        *precision_arguments(recipe),
    ]


def precision_arguments(recipe: Recipe) -> list[str]:
    """Return the arguments that select the precision and the device of an engine."""
    made = ["--stronglyTyped"] if recipe.strongly_typed else []
    made += [_OPTIONS[flag] for flag in recipe.flags]
    return made + ([] if recipe.dla is None else [f"--useDLACore={recipe.dla}"])


def _version_of_number(number: int) -> tuple[int, int, int]:
    """Convert the version number that `trtexec` prints to (major, minor, patch).

    Before version 10, the minor version has one digit and the patch has two digits. For example,
    8502 is 8.5.2. From version 10 on, the minor version and the patch have two digits each. For
    example, 100300 is 10.3.0.
    """
    if number >= 100_000:
        return number // 10_000, number // 100 % 100, number % 100
    return number // 1000, number // 100 % 10, number % 100
