"""What a check sees of the machine, and what it reports."""

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
    """Of a Python package; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def available_interpreters() -> dict[str, str] | None:
    """Best first; None when the seam that knows them cannot be imported."""
    try:
        from mggr_edge.models.runtimes import available_interpreters as available
    except ModuleNotFoundError as error:
        if error.name not in ("cv2", "numpy"):
            raise
        return None
    return available()


def answer(command: Sequence[str]) -> str | None:
    """What a program prints, whatever its exit code; None where there is none, or it hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()


def import_gstreamer(*, serving: bool) -> Any:
    """GStreamer, as cameras and streams import it."""
    from mggr_edge.media.live.csi import import_gstreamer as import_

    return import_(serving=serving)


def engine_folder() -> Path | None:
    """The user's cache of TensorRT engines; None where no home folder is known."""
    from mggr_edge.models.tensorrt.cache import cache_folder

    return cache_folder()


def gpu_name() -> str:
    """What engines are built for here."""
    from mggr_edge.models.tensorrt.engines import gpu_name as name

    return name()


@dataclass(frozen=True)
class Machine:
    """A machine, or a tree of files that looks like one.

    Attributes:
        root: what stands in the place of `/`.
        folder: the current one.
        own_pid: of this process.
        python: version of this Python, (major, minor).
        prefix: of the environment that this Python runs in.
        base_prefix: of the Python that the environment was made with.
        import_: imports a module.
        version: of an installed package.
        interpreters: what runs TFLite files, best first.
        gstreamer: imports GStreamer.
        answer: runs a program that only tells.
        may_use: whether this user may read and write a device.
        engine_folder: where TensorRT engines lie.
        gpu_name: of the GPU.
    """

    root: Path = Path("/")
    folder: Path = field(default_factory=Path.cwd)
    own_pid: int = field(default_factory=os.getpid)
    python: tuple[int, int] = sys.version_info[:2]
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
        """Where an absolute path of the machine is found."""
        return self.root / path.lstrip("/")

    def text(self, path: str | Path) -> str | None:
        """What a small file says, without the space around it; None where it cannot be read."""
        file = self.at(path) if isinstance(path, str) else path
        try:
            return file.read_text(encoding="utf-8", errors="replace").strip(" \t\r\n\0")
        except OSError:
            return None

    @property
    def jetson(self) -> str | None:
        """Which Jetson Linux this is, e.g. "Jetson L4T R35.4.1"; None on any other machine."""
        if (text := self.text("/etc/nv_tegra_release")) is None:
            return None
        # "# R35 (release), REVISION: 4.1, GCID: ..."
        match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
        return f"Jetson L4T R{match[1]}.{match[2]}" if match else "Jetson"

    @property
    def model(self) -> str:
        """What a board calls itself; empty where there is no such thing."""
        return self.text("/proc/device-tree/model") or ""

    @property
    def is_venv(self) -> bool:
        """Whether this Python runs in an environment of its own."""
        return self.prefix != self.base_prefix


State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked for.
        state: "ok", "warn" (works, with a catch) or "missing".
        found: what is there.
        fix: the line that fixes it, or several, one below the other; None where there is
            nothing to do.
        needed: `mggr-edge run` on files cannot work without it.
    """

    name: str
    state: State
    found: str
    fix: str | None = None
    needed: bool = False

    def as_json(self) -> dict[str, Any]:
        """The check as JSON's types."""
        return asdict(self)


def all_passed(checks: Sequence[Check]) -> bool:
    """Whether `mggr-edge run` can work on pictures and videos."""
    return not any(check.needed and check.state == "missing" for check in checks)


def report(checks: Sequence[Check]) -> str:
    """The checks as lines for people."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<7}  {check.name:<{width}}  {check.found}")
        lines += [f"{'':<7}  {'':<{width}}  -> {line}" for line in (check.fix or "").splitlines()]
    verdict = "can" if all_passed(checks) else "cannot"
    return "\n".join((*lines, f"mggr-edge run {verdict} work on pictures and videos here"))
