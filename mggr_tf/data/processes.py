"""Worker processes of data preparation, and full disks."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import cv2

from mggr_edge.errors import UsageError

if TYPE_CHECKING:
    import tensorflow as tf

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@contextmanager
def mapped(
    make: Callable[[], Callable[[Item], Outcome]],
    items: Iterable[Item],
    *,
    workers: int,
    otherwise: str,
) -> Iterator[Iterator[Outcome]]:
    """Gives the items' outcomes, in order, from so many processes.

    Whatever ends the context early, Ctrl-C for one, also ends the processes: each
    finishes the item that it is at, and what was not begun never is.

    Args:
        make: called once in each process; gives what is done there to an item.
        items: what to work on.
        workers: 1 stays in this process; more are started by `spawn`, because the
            caller may hold TensorFlow's threads.
        otherwise: what else to do where a process was killed.

    Raises:
        UsageError: one was, most likely for want of memory.
    """
    if workers == 1:
        yield map(make(), items)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(make,),
    )
    try:
        with _ctrl_c_ignored():
            outcomes = pool.map(_work, items)
        yield outcomes
    except BrokenProcessPool as error:
        raise UsageError(
            f"one of {workers} processes was killed, perhaps for want of memory; "
            f"{otherwise}try --workers {max(1, workers // 2)}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker: Callable[[Any], Any] | None = None
"""Of a process that was started."""


def _begin(make: Callable[[], Callable[[Any], Any]]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not inherited
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = make()


def _work(item: Any) -> Any:
    assert _worker is not None
    return _worker(item)


def _end_with_parent() -> None:
    """A process whose parent was killed waits for work for ever otherwise."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """While processes are started: what one ignores, those that it starts ignore too.

    Ctrl-C goes to every process of a terminal; only one of them should answer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_OF_THE_OP = re.compile(r"^\{\{.*?\}\} *| *\[Op:\w+\].*$")


def disk_reason(error: tf.errors.OpError) -> str:
    """`{{function_node F}} FILE; No space left on device [Op:SaveV2]` as `FILE: no space ...`.

    Example:
        >>> said = "{{function_node W}} run/log; No space left on device\\n\\tFailed to flush"
        >>> disk_reason(tf.errors.ResourceExhaustedError(None, None, said))
        'run/log: no space left on device'
    """
    text = _OF_THE_OP.sub("", error.message.splitlines()[0])
    file, semicolon, reason = text.rpartition("; ")
    return f"{file}: {reason.lower()}" if semicolon else text
