"""Workers on this machine: started together, ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from mggr_edge.errors import UsageError
from mggr_tf.training.launch.cluster import free_addresses, tf_config

_LOOK_EVERY_S = 0.2
_PATIENCE_S = 60.0
"""So long a worker may take to save and end before it is killed."""
_PR_SET_PDEATHSIG = 1
"""Of Linux' <sys/prctl.h>."""
_STOPPED = frozenset({129, 130, 143})
"""A worker ends with these when a signal has reached it: all of them save, and end."""
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True)
class Ended:
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
) -> Ended:
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


def _wait(started: Sequence[subprocess.Popen[str]]) -> Ended:
    while True:
        codes = [process.poll() for process in started]
        for index, code in enumerate(codes):
            if code:
                return Ended(code if code > 0 else 128 - code, index)
        if all(code == 0 for code in codes):
            return Ended(0, None)
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
