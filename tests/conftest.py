"""Settings for all tests, and a check that no test leaves a thread or a process running."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("house")

_SLOW_TIMEOUT_S = 3600
"""Time limit of a test in the slow tier; `timeout` in pyproject.toml limits the others."""

_GRACE_S = 10.0
"""Time that a thread or process has to end after its test, on a machine that is busy."""

_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Processes that Python's `multiprocessing` keeps until the interpreter ends."""


def pytest_configure() -> None:
    """Handle signals as in a terminal, also under `nohup` and in a shell's background.

    There the system ignores SIGINT and SIGHUP, and so would all programs that tests start.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of the slow tier a longer time limit."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SLOW_TIMEOUT_S))


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process running.

    Fixtures of a wider scope start before this one, so what they share is not reported.
    """
    threads, children = set(threading.enumerate()), set(_children())
    yield
    deadline = time.monotonic() + _GRACE_S
    while left := [*_new_threads(threads), *_new_children(children)]:
        if time.monotonic() > deadline:
            pytest.fail(f"the test left running: {', '.join(left)}")
        time.sleep(0.02)


def _new_threads(before: set[threading.Thread]) -> list[str]:
    return [f"thread {thread.name}" for thread in threading.enumerate() if thread not in before]


def _new_children(before: set[psutil.Process]) -> list[str]:
    names = []
    for child in set(_children()) - before:
        try:
            command = " ".join(child.cmdline())
            is_over = child.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        if not is_over and not any(helper in command for helper in _HELPERS):
            names.append(f"process {child.pid} {command[:120]}")
    return names


def _children() -> list[psutil.Process]:
    """Children of this process. Their own are theirs: a browser that tests share starts some."""
    return psutil.Process().children()
