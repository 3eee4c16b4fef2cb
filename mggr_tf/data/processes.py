"""Run a function in several processes, and extract the reason of TensorFlow disk errors."""

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
    """Process items in several processes, and yield an iterator over the results.

    The results have the order of the items. If the context ends early, for example because of
    Ctrl-C, each process finishes its current item and ends. The remaining items are not processed.

    Args:
        make: function that is called once in each process. It returns the function that processes
            an item.
        items: items to process.
        workers: number of processes. With 1, the items are processed in the current process.
            Otherwise, the processes are started with `spawn`, because the caller may have
            TensorFlow threads.
        otherwise: text in the error message about a killed process. The text is placed before the
            advice to use a smaller number of processes.

    Raises:
        UsageError: a process was killed. The most likely reason is that memory ran out.
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
            f"one of {workers} processes was killed, probably because memory ran out; "
            f"{otherwise}try --workers {max(1, workers // 2)}",
            code="worker-killed",
            workers=workers,
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker: Callable[[Any], Any] | None = None
"""The function that processes an item. It is set only in worker processes."""


def _begin(make: Callable[[], Callable[[Any], Any]]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Some platforms do not pass on this setting.
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = make()


def _work(item: Any) -> Any:
    assert _worker is not None
    return _worker(item)


def _end_with_parent() -> None:
    """End this process when its parent process ends.

    Without this function, the process would wait for work forever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Ignore SIGINT while processes are started. The new processes inherit this setting.

    Ctrl-C sends SIGINT to every process of a terminal. Only the parent process must react.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread can set signal handlers.
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_OF_THE_OP = re.compile(r"^\{\{.*?\}\} *| *\[Op:\w+\].*$")


def disk_reason(error: tf.errors.OpError) -> str:
    """Extract the file name and the reason from a TensorFlow error about a disk.

    The text `{{function_node F}} FILE; No space left on device [Op:SaveV2]` is converted to
    `FILE: no space left on device`.

    Example:
        >>> said = "{{function_node W}} run/log; No space left on device\\n\\tFailed to flush"
        >>> disk_reason(tf.errors.ResourceExhaustedError(None, None, said))
        'run/log: no space left on device'
    """
    text = _OF_THE_OP.sub("", error.message.splitlines()[0])
    file, semicolon, reason = text.rpartition("; ")
    return f"{file}: {reason.lower()}" if semicolon else text
