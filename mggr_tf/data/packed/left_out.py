"""Patches of a source that are not in a pack, and why."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEFT_OUT = "left-out.csv"
NO_PARTNER = "no other good patch of this person, side and head pose"


@dataclass(frozen=True)
class LeftOut:
    """One patch.

    Attributes:
        number: its place in the source.
        file: its file, relative to the source.
        within: which patch of a file that holds many.
        reason: why it is left out.
        fatal: packing refuses a source that holds it.
    """

    number: int
    file: str
    within: str
    reason: str
    fatal: bool = False


def write_left_out(path: Path, patches: Iterable[LeftOut]) -> None:
    """Writes a table of them, in the order of the source."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("file", "within", "reason"))
        for one in sorted(patches, key=lambda one: one.number):
            writer.writerow((one.file, one.within, one.reason))
