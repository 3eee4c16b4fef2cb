"""Training on several devices, deferred signals, and short messages for TensorFlow errors.

A replica is one device that trains. A worker is one process. A process can use several devices.

The environment variable TF_CONFIG describes the workers of a training. Its value is the same for
all workers, except for the index of the task:

    {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}

Worker 0 is the chief. Only the chief writes files. If all workers need the same value, the chief's
value is used.

A signal takes effect only after the current step is complete. Therefore a checkpoint always
contains the state after a whole step. Clusters send SIGTERM before they stop a machine. A terminal
sends SIGHUP when it is closed. The exit code is 128 plus the number of the signal. A script can
detect this exit code and continue the training with `--resume`.
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

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.common.process import HANGUP, exit_code
from mggr_edge.errors import ConfigError, RunError
from mggr_tf.data.rows import Batch, Metrics

INTERRUPTED = exit_code(signal.SIGINT)


class Preempted(KeyboardInterrupt):
    """Raised because of SIGTERM or SIGHUP. The training state has been saved before.

    Attributes:
        code: exit code of the program.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.code = exit_code(number)


class SecondSignal(KeyboardInterrupt):
    """Raised if a second signal arrives before the first one is handled.

    In this case, the latest training state is not saved.
    """


class Signals:
    """Stores the first signal that the process has received."""

    def __init__(self) -> None:
        self._first: int | None = None

    @property
    def came(self) -> bool:
        """Whether a signal has been received."""
        return self._first is not None

    def heed(self) -> None:
        """Raise the exception for the received signal.

        Another worker may have received the signal instead of this worker. In this case, the method
        raises the exception for SIGTERM.

        Raises:
            KeyboardInterrupt: SIGINT was received.
            Preempted: another signal was received, or only another worker received a signal.
        """
        if self._first == signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted if self._first is None else Preempted(self._first)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: store the first signal, and raise `SecondSignal` for the second one."""
        if self.came:
            raise SecondSignal
        self._first = number


@contextmanager
def deferred_signals() -> Iterator[Signals]:
    """Defer SIGINT, SIGTERM and SIGHUP. The caller must check for signals between two steps.

    Outside the main thread, this function does nothing, because only the main thread receives
    signals.

    Yields:
        Object that stores the received signal.

    Raises:
        SecondSignal: a second signal was received.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    held = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
        held.append(HANGUP)  # With `nohup`, SIGHUP is ignored.
    before = {number: signal.signal(number, signals.note) for number in held}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_LONGEST = 200
_WHERE = ("Graph execution error", "Detected at node", "  File ", "Node: ", "\t [[")
"""Prefixes of message lines that contain the location of an error, but not its reason."""


def plain_reason(error: tf.errors.OpError) -> str:
    """Return the first message line with the reason of an error, truncated to 200 characters."""
    lines = [line for line in error.message.splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_WHERE)]
    return (reasons or lines or [type(error).__name__])[0].strip()[:_LONGEST]


StrategyName = Literal["auto", "one", "mirrored", "multiworker"]

LOST_A_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)
"""Errors that TensorFlow raises if it notices that the connection to a worker is lost."""


@dataclass(frozen=True)
class Distribution:
    """Devices that train together.

    Attributes:
        strategy: TensorFlow's distribution strategy.
        workers: number of processes.
        index: number of this process, from 0.
    """

    strategy: tf.distribute.Strategy
    workers: int = 1
    index: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process is the chief, which writes the files."""
        return self.index == 0

    @property
    def replicas(self) -> int:
        """Number of devices that share a batch. Devices on all machines are counted."""
        return int(self.strategy.num_replicas_in_sync)

    def agreed(self, value: float) -> float:
        """Return the chief's value on each worker.

        All workers must call this method. The call returns after all workers have called it.
        """
        if self.workers == 1:
            return value
        mine = value if self.is_chief else 0.0
        total = _sum_of_all(self.strategy, tf.constant(mine, tf.float64))
        return float(total) / (self.replicas // self.workers)

    def any(self, asks: bool) -> bool:
        """Return whether `asks` is True on at least one worker.

        All workers must call this method. The call returns after all workers have called it.
        """
        if self.workers == 1:
            return asks
        return float(_sum_of_all(self.strategy, tf.constant(float(asks), tf.float64))) > 0

    @contextmanager
    def reporting_lost_workers(self) -> Iterator[None]:
        """Convert TensorFlow's errors about a lost worker to a `RunError` with a short message.

        Raises:
            RunError: the connection to another worker is lost.
        """
        try:
            yield
        except LOST_A_WORKER as error:
            if self.workers == 1:
                raise
            reason = plain_reason(error)
            raise RunError(
                "the connection to another worker was lost, so the training stopped; start all "
                f"workers again with --resume. TensorFlow error: {reason}",
                code="worker-lost",
                reason=reason,
            ) from error


@tf.function
def _sum_of_all(strategy: tf.distribute.Strategy, mine: tf.Tensor) -> tf.Tensor:
    shared = strategy.run(tf.identity, args=(mine,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, shared, axis=None)


def on_all_devices(
    step: Callable[[Batch], Metrics], distribution: Distribution
) -> Callable[[Batch, tf.Tensor], tuple[dict[str, float], NDArray[np.float32]]]:
    """Return a function that runs a step on all devices.

    Returns:
        A function with the arguments (batch, requests of this worker). It returns the metrics and
        the sum of the requests of all workers. Requests are an array of floats.
    """
    strategy = distribution.strategy
    names: list[str] = []

    def one(batch: Batch, wishes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        metrics = step(batch)
        names[:] = metrics
        return tf.stack(list(metrics.values())), tf.identity(wishes)

    @tf.function
    def run(batch: Batch, wishes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Reduce all metrics as one vector. Each separate reduction between machines would take the
        # time of a network request.
        metrics, wishes = strategy.run(one, args=(batch, wishes))
        total = tf.distribute.ReduceOp.SUM
        return strategy.reduce(total, metrics, axis=None), strategy.reduce(total, wishes, axis=None)

    def ask(batch: Batch, wishes: tf.Tensor) -> tuple[dict[str, float], NDArray[np.float32]]:
        metrics, heard = run(batch, wishes)
        return dict(zip(names, metrics.numpy().tolist(), strict=True)), heard.numpy()

    return ask


def open_distribution(
    name: StrategyName = "auto", *, notify: Callable[[str], None] = lambda text: None
) -> Distribution:
    """Return the devices to train on. With several workers, wait until all are connected.

    With `multiworker`, call this function before the first TensorFlow operation.

    Args:
        name: name of the strategy. `auto` uses all GPUs of this machine; with fewer than two GPUs,
            it is the same as `one`. `one` uses one device. `mirrored` uses all GPUs of this
            machine; without a GPU, it uses all logical CPUs. `multiworker` uses all workers in
            TF_CONFIG.
        notify: called with a message that lists the workers that must connect.

    Raises:
        ConfigError: TF_CONFIG is missing or invalid. Or TF_CONFIG lists several workers, but the
            strategy is not `multiworker`.
        RunError: this worker could not connect to the other workers.
    """
    cluster = _cluster(os.environ)
    if name == "multiworker":
        return _of_several(cluster, notify)
    if cluster is not None and cluster.workers > 1:
        raise ConfigError(
            f"TF_CONFIG lists {cluster.workers} workers, but --strategy is {name}; use "
            "--strategy multiworker, or unset TF_CONFIG to train only on this machine",
            code="strategy-not-multiworker",
            workers=cluster.workers,
            strategy=name,
        )
    several = len(tf.config.list_physical_devices("GPU")) > 1
    if name == "mirrored" or (name == "auto" and several):
        return Distribution(tf.distribute.MirroredStrategy(_local_devices()))
    return Distribution(tf.distribute.get_strategy())


@dataclass(frozen=True)
class Cluster:
    """Content of TF_CONFIG.

    Attributes:
        addresses: `host:port` of all workers.
        index: number of this worker, from 0.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def workers(self) -> int:
        """Number of workers."""
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
            f", got {text!r}",
            code="tf-config-not-readable",
            found=text,
        ) from error
    if kind != "worker" or set(said["cluster"]) != {"worker"}:
        kinds = ", ".join(sorted({str(kind), *said["cluster"]}))
        raise ConfigError(
            f"TF_CONFIG: only the task type worker is supported; got {kinds}",
            code="tf-config-other-tasks",
            found=kinds,
        )
    if not addresses or not all(isinstance(one, str) and ":" in one for one in addresses):
        raise ConfigError(
            f"TF_CONFIG: expected a list of host:port, got {addresses!r}",
            code="tf-config-bad-addresses",
            found=addresses,
        )
    if not 0 <= index < len(addresses):
        raise ConfigError(
            f"TF_CONFIG: expected a task index from 0 to {len(addresses) - 1}, got {index}",
            code="tf-config-bad-index",
            index=index,
            workers=len(addresses),
        )
    return Cluster(tuple(addresses), index)


def _of_several(cluster: Cluster | None, notify: Callable[[str], None]) -> Distribution:
    if cluster is None:
        raise ConfigError(
            "--strategy multiworker needs the environment variable TF_CONFIG, but it is not set; "
            "use `mggr-tf launch --workers 2 -- train ...`, which sets it",
            code="tf-config-missing",
        )
    if cluster.workers == 1:
        return Distribution(tf.distribute.get_strategy())
    others = ", ".join(one for at, one in enumerate(cluster.addresses) if at != cluster.index)
    notify(f"worker {cluster.index} of {cluster.workers}: waiting for {others}")
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, *LOST_A_WORKER, tf.errors.UnknownError) as error:
        reason = " ".join(str(error).split())[:_LONGEST]
        raise RunError(
            f"worker {cluster.index} at {cluster.addresses[cluster.index]} could not connect to "
            f"the other workers ({others}): {reason}",
            code="workers-not-reachable",
            worker=cluster.index,
            address=cluster.addresses[cluster.index],
            others=others,
            reason=reason,
        ) from error
    return Distribution(strategy, cluster.workers, cluster.index)


def _local_devices() -> list[str]:
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return [device.name for device in tf.config.list_logical_devices(kind)]
