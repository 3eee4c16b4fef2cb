"""Distribution strategies, preemption, and TensorFlow's errors.

Machines find each other by TensorFlow's own TF_CONFIG, the same on each but for the task's index:

    {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}

Worker 0 is the chief: it alone writes, and where all must decide alike, it decides.

What is saved is then the state after a whole step. Clusters send SIGTERM before they take a machine
away; SIGHUP comes when a terminal is closed. The exit code is 128 and the signal's number, so that
a script can start the training again with `--resume`.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

import tensorflow as tf

from mggr_edge.common.process import exit_code
from mggr_edge.errors import ConfigError, RunError

INTERRUPTED = exit_code(signal.SIGINT)


class Preempted(KeyboardInterrupt):
    """SIGTERM or SIGHUP came; what was trained is kept.

    Attributes:
        code: exit code of the program.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.code = exit_code(number)


class SecondSignal(KeyboardInterrupt):
    """A second signal came before the first was heeded: nothing more can be kept."""


class Signals:
    """Which signal came, if any."""

    def __init__(self) -> None:
        self._first: int | None = None

    @property
    def came(self) -> bool:
        """Whether one did."""
        return self._first is not None

    def heed(self) -> None:
        """Raises what the signal asked for; SIGTERM's, where another worker's came.

        Raises:
            KeyboardInterrupt: SIGINT came.
            Preempted: any other.
        """
        if self._first == signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted if self._first is None else Preempted(self._first)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Takes note of a signal; the second one does not wait."""
        if self.came:
            raise SecondSignal
        self._first = number


@contextmanager
def deferred_signals() -> Iterator[Signals]:
    """Gives what knows of SIGINT, SIGTERM and SIGHUP; look at it between two steps.

    In another thread than the main one nothing is held back, as signals do not reach it.

    Raises:
        SecondSignal: a second signal came.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    held = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # `nohup` ignores it
        held.append(signal.SIGHUP)
    before = {number: signal.signal(number, signals.note) for number in held}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_LONGEST = 200
_WHERE = ("Graph execution error", "Detected at node", "  File ", "Node: ", "\t [[")
"""How lines begin that say where."""


def plain_reason(error: tf.errors.OpError) -> str:
    """The first line that says why."""
    lines = [line for line in error.message.splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_WHERE)]
    return (reasons or lines or [type(error).__name__])[0].strip()[:_LONGEST]


_LONGEST_REASON = 200

StrategyName = Literal["auto", "one", "mirrored", "multiworker"]

LOST_A_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)
"""What TensorFlow says when a peer is gone, as far as its collectives notice it."""


@dataclass(frozen=True)
class Distribution:
    """Devices that train together.

    Attributes:
        strategy: TensorFlow's.
        workers: how many processes there are.
        index: this one's number.
    """

    strategy: tf.distribute.Strategy
    workers: int = 1
    index: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes."""
        return self.index == 0

    @property
    def replicas(self) -> int:
        """How many devices share a batch, on all machines."""
        return int(self.strategy.num_replicas_in_sync)

    def agreed(self, value: float) -> float:
        """The chief's value, on every worker; all of them must ask. It waits for the slowest."""
        if self.workers == 1:
            return value
        mine = value if self.is_chief else 0.0
        total = _sum_of_all(self.strategy, tf.constant(mine, tf.float64))
        return float(total) / (self.replicas // self.workers)

    def any(self, asks: bool) -> bool:
        """Whether any worker asks for it; all of them must call, and it waits for the slowest."""
        if self.workers == 1:
            return asks
        return float(_sum_of_all(self.strategy, tf.constant(float(asks), tf.float64))) > 0

    @contextmanager
    def reporting_lost_workers(self) -> Iterator[None]:
        """Makes one line of what TensorFlow says when another worker is gone.

        Raises:
            RunError: one is.
        """
        try:
            yield
        except LOST_A_WORKER as error:
            if self.workers == 1:
                raise
            raise RunError(
                "another worker is gone, and training cannot go on without it; start all of them "
                f"again with --resume. TensorFlow says: {plain_reason(error)}"
            ) from error


@tf.function
def _sum_of_all(strategy: tf.distribute.Strategy, mine: tf.Tensor) -> tf.Tensor:
    shared = strategy.run(tf.identity, args=(mine,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, shared, axis=None)


def open_distribution(
    name: StrategyName = "auto", *, notify: Callable[[str], None] = lambda text: None
) -> Distribution:
    """Finds the devices; with several workers, waits until all of them are there.

    With `multiworker` nothing of TensorFlow may have run before.

    Args:
        name: `auto` takes all GPUs of this machine, or its one device; `one` takes one;
            `mirrored` every GPU, or every logical CPU; `multiworker` what TF_CONFIG names.
        notify: called with the worker that it waits for.

    Raises:
        ConfigError: TF_CONFIG is missing or wrong, or names workers that nobody asked for.
    """
    cluster = _cluster(os.environ)
    if name == "multiworker":
        return _of_several(cluster, notify)
    if cluster is not None and cluster.workers > 1:
        raise ConfigError(
            f"TF_CONFIG names {cluster.workers} workers, and --strategy is {name}: say --strategy "
            "multiworker, or unset TF_CONFIG to train on this machine alone"
        )
    several = len(tf.config.list_physical_devices("GPU")) > 1
    if name == "mirrored" or (name == "auto" and several):
        return Distribution(tf.distribute.MirroredStrategy(_local_devices()))
    return Distribution(tf.distribute.get_strategy())


@dataclass(frozen=True)
class Cluster:
    """What TF_CONFIG says: the addresses of all workers, and which of them this is."""

    addresses: tuple[str, ...]
    index: int

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self.addresses)


def _cluster(environment: Mapping[str, str]) -> Cluster | None:
    text = environment.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        said = json.loads(text)
        addresses = said["cluster"]["worker"]
        task = said["task"]
        kind, index = task["type"], int(task["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "TF_CONFIG cannot be read; expected "
            '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
            f", got {text!r}"
        ) from error
    if kind != "worker" or set(said["cluster"]) != {"worker"}:
        raise ConfigError("TF_CONFIG may name tasks of type worker alone: all of them train")
    if not addresses or not all(isinstance(one, str) and ":" in one for one in addresses):
        raise ConfigError(f"TF_CONFIG: expected a list of host:port, got {addresses!r}")
    if not 0 <= index < len(addresses):
        raise ConfigError(f"TF_CONFIG: task index {index}, and {len(addresses)} workers")
    return Cluster(tuple(addresses), index)


def _of_several(cluster: Cluster | None, notify: Callable[[str], None]) -> Distribution:
    if cluster is None:
        raise ConfigError(
            "--strategy multiworker reads TF_CONFIG, which is not set; `mggr-tf launch --workers 2 "
            "-- train ...` sets it"
        )
    if cluster.workers == 1:
        return Distribution(tf.distribute.get_strategy())
    others = ", ".join(one for at, one in enumerate(cluster.addresses) if at != cluster.index)
    notify(f"worker {cluster.index} of {cluster.workers}: waiting for {others}")
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, *LOST_A_WORKER, tf.errors.UnknownError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise RunError(
            f"worker {cluster.index} at {cluster.addresses[cluster.index]} did not find the "
            f"others ({', '.join(cluster.addresses)}): {reason}"
        ) from error
    return Distribution(strategy, cluster.workers, cluster.index)


def _local_devices() -> list[str]:
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return [device.name for device in tf.config.list_logical_devices(kind)]
