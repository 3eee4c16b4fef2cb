"""Names, each of them once and in order: of any number of files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator


class SortedNames:
    """Sorts names by their bytes. What exceeds 2 MB lies in a temporary file, not in memory.

    Example:
        >>> with SortedNames() as names:
        ...     names.add("b", 1), names.add("a", 2), names.add("b", 3)
        ...     list(names)
        (None, None, 1)
        ['a', 'b']
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # no name: a file that vanishes when it is closed
        self._database.execute(
            "CREATE TABLE names (name BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID"
        )

    def __enter__(self) -> SortedNames:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, name: str, number: int = 0) -> int | None:
        """Takes in a name; of one that is there already, the number it came with."""
        key = os.fsencode(name)
        added = self._database.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (key, number))
        if added.rowcount:
            return None
        found = self._database.execute("SELECT number FROM names WHERE name = ?", (key,))
        return int(found.fetchone()[0])

    def __iter__(self) -> Iterator[str]:
        for (name,) in self._database.execute("SELECT name FROM names ORDER BY name"):
            yield os.fsdecode(name)
