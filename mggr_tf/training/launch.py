"""Start the worker processes of a training on this machine, and wait for them."""

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
    """Return one local address `host:port` for each worker. The ports are free at the moment."""
    with ExitStack() as open_at_once:
        sockets = [open_at_once.enter_context(socket.socket()) for _ in range(workers)]
        for one in sockets:
            one.bind((HERE, 0))
        return tuple(f"{HERE}:{one.getsockname()[1]}" for one in sockets)


def tf_config(addresses: Sequence[str], index: int) -> str:
    """Return the value of the environment variable TF_CONFIG for one worker."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def as_worker(command: Sequence[str]) -> tuple[str, ...]:
    """Add `--strategy multiworker` to the arguments of a `train` command.

    Raises:
        UsageError: the command is not `train`, contains the option `--strategy`, or lacks the
            option `--out`.
    """
    if not command or command[0] != "train":
        what = command[0] if command else "nothing"
        raise UsageError(
            f"launch can start only `train`, got {what}; run: mggr-tf launch -- train ...",
            code="command-not-train",
            found=what,
        )
    if any(word == _CHOSEN or word.startswith(f"{_CHOSEN}=") for word in command):
        raise UsageError(
            "launch does not accept --strategy, because the strategy is always `multiworker`; omit "
            "the option",
            code="strategy-not-accepted",
        )
    if "--out" not in command and not any(word.startswith("--out=") for word in command):
        raise UsageError(
            "launch needs `train --out RUN`, so that all workers use the same run; add --out RUN",
            code="out-missing",
        )
    return (*command, _CHOSEN, "multiworker")


def host_lines(addresses: Sequence[str], command: Sequence[str]) -> tuple[str, ...]:
    """Return the command line to start on each host, one line per host.

    Args:
        addresses: host:port of each worker. The other workers must be able to connect to this
            address.
        command: arguments from `as_worker`.

    Raises:
        UsageError: an address has no port, or an address occurs twice.
    """
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(
                f"--hosts: expected host:port, got {address!r}",
                code="host-without-port",
                address=address,
            )
    if len(set(addresses)) < len(addresses):
        address = next(one for one in addresses if addresses.count(one) > 1)
        raise UsageError(
            f"--hosts: {address} occurs twice; list each worker once",
            code="host-twice",
            address=address,
        )
    return tuple(
        f"{address.rpartition(':')[0]}: TF_CONFIG={shlex.quote(tf_config(addresses, index))} "
        f"{shlex.join(('mggr-tf', *command))}"
        for index, address in enumerate(addresses)
    )


_LOOK_EVERY_S = 0.2
_PATIENCE_S = 60.0
"""Timeout for a worker, seconds. The worker must save a checkpoint and exit within this time.

A worker that takes longer is killed.
"""
_PR_SET_PDEATHSIG = 1
"""Option of `prctl` from Linux' <sys/prctl.h>."""
_STOPPED = frozenset({129, 130, 143})
"""Exit codes of a worker that has received a signal.

If one worker has received a signal, all workers save a checkpoint and exit.
"""
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True)
class WorkersResult:
    """Result of a multi-worker run.

    Attributes:
        code: 0 if all workers succeeded. Otherwise, the exit code of the first worker that failed.
        first: number of the first worker that failed. `None` if all workers succeeded.
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
    """Run `mggr-tf COMMAND` in several processes, and wait until all processes have exited.

    If a worker fails, the function sends SIGTERM to the other workers. If a worker does not exit
    within a timeout, the function kills this worker. The function forwards SIGINT and SIGTERM to
    all workers. After a signal, all workers complete the same step, save a checkpoint, and exit.

    Args:
        command: arguments from `as_worker`.
        workers: number of worker processes.
        gpus_each: number of GPUs for each worker. Worker i uses the GPUs i * gpus_each to (i + 1) *
            gpus_each - 1. With `None`, all workers can use all GPUs.
        tell: called for each line that a worker prints, with the number of the worker and the line.

    Raises:
        UsageError: there are not enough GPUs.
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
    """Return the GPUs of a worker.

    The GPUs that this process can use are divided between the workers.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    first, last = index * each, (index + 1) * each
    if visible is None:
        return [str(number) for number in range(first, last)]
    mine = [name for name in visible.split(",") if name][first:last]
    if len(mine) < each:
        raise UsageError(
            f"--gpus-each {each}: CUDA_VISIBLE_DEVICES={visible} has too few GPUs for worker "
            f"{index}",
            code="too-few-gpus",
            each=each,
            visible=visible,
            worker=index,
        )
    return mine


def _die_with_launch() -> None:
    """Make Linux send SIGTERM to this process when its parent process exits."""
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
        start_new_session=True,  # the terminal sends Ctrl-C only to this process, not to workers
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
    """Stop the workers that still run. If a worker does not exit within a timeout, kill it.

    Args:
        started: worker processes.
        asked: True if the workers have already received a signal. The workers are then saving a
            checkpoint. A second signal would interrupt the saving. Therefore the function sends no
            signal.
    """
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
    """Context manager that forwards SIGINT and SIGTERM to all workers.

    Attributes:
        came: True after a signal has been forwarded.
    """

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
