"""Which kinds of data there are, and which of them a folder is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mggr_edge.errors import DataError
from mggr_tf.data import columbia, folder, mpiigaze
from mggr_tf.data.scan import Scan


class ScanPath(Protocol):
    """Reads a source, of some subjects only or of all."""

    def __call__(self, path: Path, /, *, subjects: Collection[str] | None = None) -> Scan: ...


@dataclass(frozen=True)
class Reader:
    """One kind of source.

    Attributes:
        expects: what such a source looks like, for whoever has something else.
        recognises: a cheap look at a folder that exists.
        scan: reads it.
    """

    expects: str
    recognises: Callable[[Path], bool]
    scan: ScanPath


READERS: tuple[Reader, ...] = (
    Reader(f"patches listed in {folder.TABLE} (see docs/data.md)", folder.recognises, folder.scan),
    Reader("MPIIGaze with Data/Normalized/p00/day01.mat", mpiigaze.recognises, mpiigaze.scan),
    Reader(
        "patches named 0001_2m_0P_10V_-5H_L.jpg as those of the Columbia data set",
        columbia.recognises,
        columbia.scan,
    ),
)
"""In this order: a table beside the patches outweighs what they are called."""


def scan_source(path: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Reads whatever kind of source this is.

    Args:
        path: a folder.
        subjects: only these; None takes all.

    Raises:
        DataError: no such folder, nothing in it that any reader knows, or a reader's
            own complaint.
    """
    if not path.is_dir():
        what = "it is a file" if path.exists() else "it does not exist"
        raise DataError(f"{path} is not a folder of eye patches: {what}")
    for reader in READERS:
        if reader.recognises(path):
            scanned = reader.scan(path, subjects=subjects)
            if not scanned.labels and not scanned.bad:
                whose = "" if subjects is None else f" of subject {', '.join(sorted(subjects))}"
                raise DataError(f"{path} holds no eye patch{whose}")
            return scanned
    kinds = "; ".join(reader.expects for reader in READERS)
    raise DataError(f"{path} holds no eye patch that can be read; expected one of: {kinds}")
