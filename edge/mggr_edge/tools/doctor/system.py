"""Check other processes, temperature, memory and disk."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from mggr_edge.common.addresses import redact_credentials
from mggr_edge.runs.service.load_shedding import HOT_C, ZONES, zones_c
from mggr_edge.tools.doctor.machine import Check, Machine

UNIT = "mggr-edge.service"
"""Name of the systemd unit file in `edge/`."""

_PROGRAM = "mggr-edge"
_WORDS_BEFORE = 6
"""The program name is searched in this number of words at the start of a command line. The first
words may be `python` and options of Python."""

_COMMANDS = ("run", "calibrate", "studio")
_LIVE_COMMANDS = ("calibrate", "studio")
_LIVE_ADDRESS = re.compile(r"/dev/(?!shm/)|v4l2|csi://|rtsps?://", re.IGNORECASE)


@dataclass(frozen=True)
class Process:
    """Running process.

    Attributes:
        pid: process ID.
        name: name of the process, as the kernel reports it.
        arguments: words of the command line; empty if this user may not read them.
    """

    pid: int
    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


@dataclass
class Holders:
    """Processes that have devices open.

    Attributes:
        of: device, e.g. "/dev/video0" -> processes that have this device open.
        unseen: number of processes whose open files this user may not read.
    """

    of: dict[str, list[Process]] = field(default_factory=dict)
    unseen: int = 0


def processes(machine: Machine) -> Iterator[Process]:
    """Yield all processes except this one."""
    for folder in sorted(machine.at("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        name = machine.text(folder / "comm")
        if name is None or int(folder.name) == machine.own_pid:
            continue
        arguments = machine.text(folder / "cmdline") or ""
        yield Process(int(folder.name), name, tuple(arguments.split("\0")))


def holders(machine: Machine, prefix: str) -> Holders:
    """Return the processes that have a device open, for devices whose path begins with `prefix`."""
    found = Holders()
    for process in processes(machine):
        folder = machine.at(f"/proc/{process.pid}/fd")
        try:
            opened = {os.readlink(folder / name) for name in os.listdir(folder)}
        except PermissionError:
            found.unseen += 1
            continue
        except OSError:  # the process has ended
            continue
        for device in sorted(opened):
            if device.startswith(prefix):
                found.of.setdefault(device, []).append(process)
    return found


def check_own_kind(machine: Machine) -> Check:
    """Check whether another `mggr-edge` process runs, which may use the same camera or port."""
    others = [p for p in processes(machine) if (_command(p) or ("",))[0] in _COMMANDS]
    live = [p for p in others if _is_live(p)]
    if not live:
        busy = f"{', '.join(map(_shown, others))}; files only" if others else "no other process"
        return Check("mggr-edge", "ok", busy)
    fixes = dict.fromkeys(_fix(machine, process) for process in live)
    found = f"{', '.join(map(_shown, live))}: a second process cannot use the same camera or port"
    return Check("mggr-edge", "warn", found, "\n".join(fixes))


def _command(process: Process) -> tuple[str, ...] | None:
    """Return the arguments after `mggr-edge` on a command line, or `None` for other programs."""
    words = process.arguments
    program = words[0].rpartition("/")[2]
    if not program.startswith(("python", _PROGRAM)):  # for example sudo, timeout, an editor
        return None
    for place, word in enumerate(words[:_WORDS_BEFORE]):
        is_module = word == "mggr_edge" and "-m" in words[:place]
        if word.rpartition("/")[2] == _PROGRAM or is_module:
            return words[place + 1 :]
    return None


def _is_live(process: Process) -> bool:
    command = _command(process) or ("",)
    if command[0] in _LIVE_COMMANDS:
        return True
    return command[0] == "run" and any(map(_LIVE_ADDRESS.match, command[1:]))


def _shown(process: Process) -> str:
    words = shlex.join(redact_credentials(argument) for argument in _command(process) or ())
    return f"mggr-edge {words} (pid {process.pid})"


def _fix(machine: Machine, process: Process) -> str:
    is_service = UNIT in (machine.text(f"/proc/{process.pid}/cgroup") or "")
    # Use SIGINT, because the process then completes its recording.
    return f"sudo systemctl stop {UNIT}" if is_service else f"kill -INT {process.pid}"


_LEAST_MEMORY_MB = 500
_LEAST_DISK_MB = 1000


def check_temperature(machine: Machine) -> Check:
    """Check the temperature of the hottest thermal zone."""
    zones = zones_c(machine.at(str(ZONES)))
    if not zones:
        return Check("temperature", "missing", "no thermal zone can be read")
    hottest = max(zones, key=lambda name: zones[name])
    found = f"{zones[hottest]:.0f} °C in {hottest}, the hottest of {len(zones)} zones"
    if zones[hottest] >= HOT_C:
        fix = "add a fan or reduce the load: --input-width 640, --max-faces 1, an int8 bundle"
        return Check(
            "temperature", "warn", f"{found}; the hardware will soon reduce its clock rate", fix
        )
    return Check("temperature", "ok", found)


def check_memory(machine: Machine) -> Check:
    """Check the free memory."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", machine.text("/proc/meminfo") or "", re.M)
    if match is None:
        return Check("memory", "warn", "the free memory cannot be read from /proc/meminfo")
    free_mb = int(match[1]) * 1024 / 1e6
    if free_mb < _LEAST_MEMORY_MB:
        fix = "ps -eo pid,rss,comm --sort=-rss | head (lists the largest processes)"
        return Check("memory", "warn", f"only {free_mb:.0f} MB free", fix)
    return Check("memory", "ok", f"{free_mb:.0f} MB free")


def check_disk(machine: Machine) -> Check:
    """Check the free disk space in the current folder, because a run may write its output there."""
    free_mb = shutil.disk_usage(machine.folder).free / 1e6
    if free_mb < _LEAST_DISK_MB:
        fix = f"du -xh -d 1 {machine.folder} | sort -h | tail (lists the largest folders)"
        return Check("disk", "warn", f"only {free_mb:.0f} MB free in {machine.folder}", fix)
    return Check("disk", "ok", f"{free_mb / 1000:.1f} GB free in {machine.folder}")
