"""Functions with which the checks access the machine, and the result of a check."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

_PATIENCE_S = 5.0


def installed_version(distribution: str) -> str | None:
    """Return the version of a Python package, or `None` if the package is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def available_interpreters() -> dict[str, str] | None:
    """Return the installed runtimes and their versions; TFLite interpreters are first.

    If numpy or OpenCV is missing, the result is `None`.
    """
    try:
        from mggr_edge.models.runtimes import all_runtimes
    except ModuleNotFoundError as error:
        if error.name not in ("cv2", "numpy"):
            raise
        return None
    return all_runtimes()


def answer(command: Sequence[str]) -> str | None:
    """Return the standard output of a program, or `None` if the program is missing or hangs.

    The exit code is ignored.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()


def import_gstreamer(*, serving: bool) -> Any:
    """Import GStreamer in the same way as the modules for cameras and streams."""
    from mggr_edge.media.live.csi import import_gstreamer as import_

    return import_(serving=serving)


def engine_folder() -> Path | None:
    """Return the folder of the user's TensorRT engines, or `None` if no home folder is known."""
    from mggr_edge.models.tensorrt.cache import cache_folder

    return cache_folder()


def gpu_name() -> str:
    """Return the name of the GPU for which this machine builds engines."""
    from mggr_edge.models.tensorrt.engines import gpu_name as name

    return name()


@dataclass(frozen=True)
class Machine:
    """Access to a machine, or to a folder tree that imitates a machine in tests.

    Attributes:
        root: folder that replaces `/`.
        folder: current folder.
        own_pid: process ID of this process.
        python: version of this Python, (major, minor).
        system: operating system, as `sys.platform` names it.
        prefix: folder of the environment in which this Python runs.
        base_prefix: folder of the Python from which the environment was created.
        import_: function that imports a module.
        version: function that returns the version of an installed package.
        interpreters: function that returns the installed runtimes. The best runtime is first.
        gstreamer: function that imports GStreamer.
        answer: function that runs a program and returns the output. The program must not change
            anything.
        may_use: function that returns whether this user may read and write a device.
        engine_folder: function that returns the folder of the user's TensorRT engines.
        gpu_name: function that returns the name of the GPU.
    """

    root: Path = Path("/")
    folder: Path = field(default_factory=Path.cwd)
    own_pid: int = field(default_factory=os.getpid)
    python: tuple[int, int] = sys.version_info[:2]
    system: str = sys.platform
    prefix: str = sys.prefix
    base_prefix: str = sys.base_prefix
    import_: Callable[[str], ModuleType] = importlib.import_module
    version: Callable[[str], str | None] = installed_version
    interpreters: Callable[[], dict[str, str] | None] = available_interpreters
    gstreamer: Callable[..., Any] = import_gstreamer
    answer: Callable[[Sequence[str]], str | None] = answer
    may_use: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK)
    engine_folder: Callable[[], Path | None] = engine_folder
    gpu_name: Callable[[], str] = gpu_name

    def at(self, path: str) -> Path:
        """Return the path under `root` that corresponds to an absolute path of the machine."""
        return self.root / path.lstrip("/")

    def text(self, path: str | Path) -> str | None:
        """Return the text of a small file without surrounding whitespace.

        If the file cannot be read, the result is `None`.
        """
        file = self.at(path) if isinstance(path, str) else path
        try:
            return file.read_text(encoding="utf-8", errors="replace").strip(" \t\r\n\0")
        except OSError:
            return None

    @property
    def jetson(self) -> str | None:
        """Version of Jetson Linux, e.g. "Jetson L4T R35.4.1"; `None` if this is no Jetson."""
        if (text := self.text("/etc/nv_tegra_release")) is None:
            return None
        # Format: "# R35 (release), REVISION: 4.1, GCID: ..."
        match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
        return f"Jetson L4T R{match[1]}.{match[2]}" if match else "Jetson"

    @property
    def model(self) -> str:
        """Model name of the board; empty if the name is unknown."""
        return self.text("/proc/device-tree/model") or ""

    @property
    def is_venv(self) -> bool:
        """True if this Python runs in a virtual environment."""
        return self.prefix != self.base_prefix


State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: subject of the check.
        state: "ok", "warn" (works with restrictions) or "missing".
        found: description of the current state.
        fix: commands that fix the problem, one per line; `None` if there is nothing to fix.
        needed: True if `mggr-edge run` needs the subject to process files.
    """

    name: str
    state: State
    found: str
    fix: str | None = None
    needed: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the check as JSON-serializable values."""
        return asdict(self)


def all_passed(checks: Sequence[Check]) -> bool:
    """Return whether `mggr-edge run` can process pictures and videos."""
    return not any(check.needed and check.state == "missing" for check in checks)


def report(checks: Sequence[Check]) -> str:
    """Return the checks as lines of text."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<7}  {check.name:<{width}}  {check.found}")
        lines += [f"{'':<7}  {'':<{width}}  -> {line}" for line in (check.fix or "").splitlines()]
    verdict = "can" if all_passed(checks) else "cannot"
    return "\n".join(
        (*lines, f"mggr-edge run {verdict} process pictures and videos on this machine")
    )
