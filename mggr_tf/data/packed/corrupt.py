"""Records whose checksum is wrong: named, counted, and put up with to a limit."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable

from mggr_edge.errors import DataError
from mggr_tf.data.packed.index import PackIndex

_NAMED = 5


class CorruptRecords:
    """Keeps account of a pack's corrupt records. Reading threads share it.

    Args:
        index: of the pack.
        limit: one more than so many is too many.
        say: called once for each.
    """

    def __init__(self, index: PackIndex, *, limit: int, say: Callable[[str], None]) -> None:
        self._index, self._limit, self._say = index, limit, say
        self._found: set[int] = set()
        self._lock = threading.Lock()
        self.failure: DataError | None = None

    def __len__(self) -> int:
        return len(self._found)

    def note(self, number: int) -> None:
        """Takes a corrupt record down.

        Raises:
            DataError: it is one too many; `failure` keeps it for the code that sees
                TensorFlow's error only.
        """
        with self._lock:
            if number not in self._found:
                self._found.add(number)
                self._say(
                    f"{self._index.path}: {self._index.name_of(number)} is corrupt and left out "
                    f"({len(self._found)} so far, packed.corrupt_limit is {self._limit})"
                )
            if len(self._found) > self._limit:
                raise self.failed()

    def failed(self) -> DataError:
        """The error that ends a training, of what was found so far."""
        names = [self._index.name_of(number) for number in sorted(self._found)]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        check = shlex.join(["mggr-tf", "data", "check", str(self._index.path)])
        self.failure = DataError(
            f"{self._index.path}: too many corrupt records ({len(names)}, packed.corrupt_limit is "
            f"{self._limit}): {', '.join(names[:_NAMED])}{more}; pack the source again, or copy "
            f"the pack again (`{check}` lists all of them)"
        )
        return self.failure
