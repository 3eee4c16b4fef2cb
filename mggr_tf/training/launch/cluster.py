"""Who the workers are, in the words of TensorFlow."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Sequence
from contextlib import ExitStack

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
