"""Starts the worker processes of a training on this machine."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

from mggr_edge.errors import UsageError

HERE = "127.0.0.1"
_CHOSEN = "--strategy"


def free_addresses(workers: int) -> tuple[str, ...]:
    """Addresses of this machine that nobody listens at, at the moment."""
    with ExitStack() as open_at_once:
        sockets = [open_at_once.enter_context(socket.socket()) for _ in range(workers)]
        for one in sockets:
            one.bind((HERE, 0))
        return tuple(f"{HERE}:{one.getsockname()[1]}" for one in sockets)


def tf_config(addresses: Sequence[str], index: int) -> str:
    """The TF_CONFIG of one worker."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def as_worker(command: Sequence[str]) -> tuple[str, ...]:
    """A `train` command as each worker is given it.

    Raises:
        UsageError: another command, or one that says how it is spread.
    """
    if not command or command[0] != "train":
        what = command[0] if command else "nothing"
        raise UsageError(f"launch starts `train`, got {what}: mggr-tf launch -- train ...")
    if any(word == _CHOSEN or word.startswith(f"{_CHOSEN}=") for word in command):
        raise UsageError("leave --strategy to launch: its workers train by `multiworker`")
    if "--out" not in command and not any(word.startswith("--out=") for word in command):
        raise UsageError("name the run with --out RUN: all workers must mean the same one")
    return (*command, _CHOSEN, "multiworker")


def host_lines(addresses: Sequence[str], command: Sequence[str]) -> tuple[str, ...]:
    """What to start on each host, one line each.

    Args:
        addresses: host:port of each worker, as the others reach it.
        command: of `as_worker`.

    Raises:
        UsageError: an address has no port, or stands there twice.
    """
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"--hosts: expected host:port, got {address!r}")
    if len(set(addresses)) < len(addresses):
        raise UsageError("--hosts: an address stands there twice")
    return tuple(
        f"{address.rpartition(':')[0]}: TF_CONFIG={shlex.quote(tf_config(addresses, index))} "
        f"{shlex.join(('mggr-tf', *command))}"
        for index, address in enumerate(addresses)
    )


_LOOK_EVERY_S = 0.2
_PATIENCE_S = 60.0
"""So long a worker may take to save and end before it is killed."""
_PR_SET_PDEATHSIG = 1
"""Of Linux' <sys/prctl.h>."""
_STOPPED = frozenset({129, 130, 143})
"""A worker ends with these when a signal has reached it: all of them save, and end."""
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True)
class WorkersResult:
    """How the workers ended.

    Attributes:
        code: 0 where all came to their end; else that of the first that did not.
        first: which that was; None where all did.
    """

    code: int
    first: int | None


def run_workers(
    command: Sequence[str],
    *,
    workers: int,
    gpus_each: int | None,
    tell: Callable[[int, str], None],
) -> WorkersResult:
    """Runs `mggr-tf COMMAND` in several processes until all have ended.

    When one fails, the others are asked to end, and killed where they do not. SIGINT and SIGTERM
    are passed on to all: they save at the same step, and end.

    Args:
        command: of `cluster.as_worker`.
        workers: how many.
        gpus_each: worker i sees so many GPUs from number i times that on; None: all see all.
        tell: called with each line that a worker writes, and its number.

    Raises:
        UsageError: there are too few GPUs to be shared.
    """
    addresses = free_addresses(workers)
    started = [
        _start(command, _environment(addresses, index, gpus_each)) for index in range(workers)
    ]
    readers = [
        threading.Thread(target=_pass_on, args=(process.stdout, index, tell), daemon=True)
        for index, process in enumerate(started)
    ]
    for reader in readers:
        reader.start()
    try:
        with _SignalsPassedOn(started) as passed_on:
            ended = _wait(started)
        asked = passed_on.came or ended.code in _STOPPED
    except BaseException:
        _end(started, asked=False)
        raise
    _end(started, asked=asked)
    for reader in readers:
        reader.join(timeout=5)
    return ended


def _environment(addresses: Sequence[str], index: int, gpus_each: int | None) -> Mapping[str, str]:
    environment = {**os.environ, "TF_CONFIG": tf_config(addresses, index)}
    if gpus_each is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(_gpus(index, gpus_each))
    cores = max(1, (os.cpu_count() or 1) // len(addresses))
    for name in _THREADS:
        environment.setdefault(name, str(cores))
    return environment


def _gpus(index: int, each: int) -> list[str]:
    """A worker's, of those that this process may see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    first, last = index * each, (index + 1) * each
    if visible is None:
        return [str(number) for number in range(first, last)]
    mine = [name for name in visible.split(",") if name][first:last]
    if len(mine) < each:
        raise UsageError(
            f"--gpus-each {each}: CUDA_VISIBLE_DEVICES={visible} leaves worker {index} too few"
        )
    return mine


def _die_with_launch() -> None:
    """Asks Linux for a SIGTERM when the process that started this one is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mggr_tf", *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=_die_with_launch,
        start_new_session=True,  # Ctrl-C reaches them through us, once
    )


def _pass_on(lines: IO[str] | None, index: int, tell: Callable[[int, str], None]) -> None:
    for line in lines or ():
        tell(index, line.rstrip("\n"))


def _wait(started: Sequence[subprocess.Popen[str]]) -> WorkersResult:
    while True:
        codes = [process.poll() for process in started]
        for index, code in enumerate(codes):
            if code:
                return WorkersResult(code if code > 0 else 128 - code, index)
        if all(code == 0 for code in codes):
            return WorkersResult(0, None)
        time.sleep(_LOOK_EVERY_S)


def _end(started: Sequence[subprocess.Popen[str]], *, asked: bool) -> None:
    """Ends those that run; where they were asked to, they are saving, and a second word would
    keep them from it."""
    for process in started:
        if process.poll() is None and not asked:
            process.terminate()
    until = time.monotonic() + _PATIENCE_S
    for process in started:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _SignalsPassedOn:
    """While it lasts, SIGINT and SIGTERM go to all workers."""

    def __init__(self, started: Sequence[subprocess.Popen[str]]) -> None:
        self._started = started
        self._before: dict[int, Any] = {}
        self.came = False

    def __enter__(self) -> _SignalsPassedOn:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._pass)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _pass(self, number: int, frame: object) -> None:
        self.came = True
        for process in self._started:
            if process.poll() is None:
                process.send_signal(number)
