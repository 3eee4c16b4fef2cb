"""Delete the oldest files of a segmented recording when they are too old or too large together."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retention:
    """Limits on the files of a segmented recording.

    Attributes:
        max_age_s: maximum time in seconds since the end of a file. `None` means no limit.
        max_bytes: maximum size of all files together. `None` means no limit.
        clock: function that returns the time in seconds since the epoch. Tests replace it.
    """

    max_age_s: float | None = None
    max_bytes: float | None = None
    clock: Callable[[], float] = time.time

    def apply(self, files: Sequence[Path]) -> list[Path]:
        """Delete files until the rest meets the limits. The newest file is always kept.

        If a file cannot be deleted, the error is logged, and the recording continues.

        Args:
            files: all files of the recording, the oldest first.

        Returns:
            The deleted files.
        """
        if self.max_age_s is None and self.max_bytes is None:
            return []
        found = [
            (path, facts.st_size, facts.st_mtime)
            for path in files
            if (facts := _facts(path)) is not None
        ]
        total, now, deleted = sum(size for _, size, _ in found), self.clock(), []
        for path, size, ended_s in found[:-1]:
            is_old = self.max_age_s is not None and now - ended_s > self.max_age_s
            is_too_much = self.max_bytes is not None and total > self.max_bytes
            if not is_old and not is_too_much:
                break
            try:
                path.unlink()
            except OSError as error:
                _log.warning("%s cannot be deleted: %s", path, error.strerror)
                continue
            deleted.append(path)
            total -= size
        return deleted


KEEP_ALL = Retention()


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # another program has deleted the file
        return None
