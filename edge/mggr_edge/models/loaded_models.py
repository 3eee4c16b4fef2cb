"""The models that one bundle has loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

from mggr_edge.models.runtimes import Runner, close_runner


class LoadedModels:
    """Runners by name, each loaded once on first use; any thread may ask for one."""

    def __init__(self) -> None:
        # Loading one model may ask for another.
        self._lock = threading.RLock()
        self._runners: dict[str, Runner | None] = {}
        self._borrowed: set[str] = set()
        self._is_closed = False

    def get(self, name: str, load: Callable[[str], Runner | None]) -> Runner | None:
        """The runner of that name.

        Args:
            name: of the model.
            load: builds it on first use; None if there is no such model here. Passed with each
                call, so that a bundle and its models do not refer to each other, and a bundle
                that is dropped frees them at once.

        Raises:
            ValueError: the models are closed.
        """
        with self._lock:
            self.check_open()
            if name not in self._runners:
                self._runners[name] = load(name)
            return self._runners[name]

    def lend(self, name: str, runner: Runner) -> None:
        """Adds a runner that `close` leaves open, because its owner closes it."""
        with self._lock:
            self._runners[name] = runner
            self._borrowed.add(name)

    def check_open(self) -> None:
        """Raises ValueError if the models are closed."""
        if self._is_closed:
            raise ValueError("the bundle is closed; open it again")

    def close(self) -> None:
        """Closes all runners but borrowed ones, each after a call that is running."""
        with self._lock:
            self._is_closed = True
            owned = [one for name, one in self._runners.items() if name not in self._borrowed]
            self._runners = {}
        with ExitStack() as each:  # All are closed, also if one fails.
            for runner in owned:
                if runner is not None:
                    each.callback(close_runner, runner)
