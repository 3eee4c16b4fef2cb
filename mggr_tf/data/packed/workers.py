"""Shards through processes; what a killed pack leaves, its processes do not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import cv2

from mggr_edge.errors import UsageError
from mggr_tf.data.ctrl_c import ctrl_c_ignored
from mggr_tf.data.packed.shard import Order, Outcome, write_shard


@contextmanager
def outcomes(orders: list[Order], *, workers: int) -> Iterator[Iterator[Outcome]]:
    """Gives the orders' outcomes, in order, from so many processes.

    Whatever ends the context early also ends the processes, after the shard that each is at.

    Args:
        orders: what to write.
        workers: 1 stays in this process; more are started by `spawn`, because the
            caller may hold TensorFlow's threads.

    Raises:
        UsageError: a process was killed, most likely for want of memory.
    """
    if workers == 1:
        yield map(write_shard, orders)
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        with ctrl_c_ignored():
            written = pool.map(write_shard, orders)
        yield written
    except BrokenProcessPool as error:
        raise UsageError(
            f"one of {workers} processes was killed, perhaps for want of memory; the same "
            f"command goes on from here: try --workers {max(1, workers // 2)}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not inherited
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose parent was killed waits for work for ever otherwise."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
