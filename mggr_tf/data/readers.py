"""Which kinds of data there are, and which of them a folder is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import DataError
from mggr_edge.media.files.paths import PICTURE_SUFFIXES
from mggr_tf.data import columbia, folder, mpiigaze
from mggr_tf.data.listing import Listing
from mggr_tf.data.packed import reader as packed
from mggr_tf.data.scan import Scan, scan_listing


class ListPath(Protocol):
    """Lists a source, of some subjects only or of all."""

    def __call__(self, path: Path, /, *, subjects: Collection[str] | None = None) -> Listing: ...


_KINDS = 3
"""So many kinds of files are named in a message."""


@dataclass(frozen=True)
class Reader:
    """One kind of source.

    Attributes:
        expects: what such a source looks like, for error messages.
        recognises: a cheap look at a folder that exists.
        listing: lists its patches.
    """

    expects: str
    recognises: Callable[[Path], bool]
    listing: ListPath


READERS: tuple[Reader, ...] = (
    Reader("what `mggr-tf data pack` wrote", packed.recognises, packed.listing),
    Reader(
        f"patches listed in {folder.TABLE} (see docs/data.md)", folder.recognises, folder.listing
    ),
    Reader("MPIIGaze with Data/Normalized/p00/day01.mat", mpiigaze.recognises, mpiigaze.listing),
    Reader(
        "patches named 0001_2m_0P_10V_-5H_L.jpg as those of the Columbia data set",
        columbia.recognises,
        columbia.listing,
    ),
)
"""In this order: a table beside the patches outweighs what they are called."""


def list_source(path: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """Lists the patches of whatever kind of source this is.

    Args:
        path: a folder.
        subjects: only these; None takes all.

    Raises:
        DataError: no such folder, nothing in it that any reader knows, or a reader's
            own complaint, which may come as late as the last entry.
    """
    if not path.is_dir():
        what = "it is a file" if path.exists() else "it does not exist"
        raise DataError(f"{path} is not a folder of eye patches: {what}")
    for reader in READERS:
        if reader.recognises(path):
            return reader.listing(path, subjects=subjects)
    kinds = "; ".join(reader.expects for reader in READERS)
    raise DataError(
        f"{path} holds no eye patch that can be read: {_in_words(path)}; expected one of: {kinds}"
    )


def _in_words(path: Path) -> str:
    """What a folder holds that no reader knows."""
    entries = [entry for entry in sorted(path.iterdir()) if not is_system_file(entry.name)]
    for entry in entries:
        if entry.is_dir() and any(reader.recognises(entry) for reader in READERS):
            return f"patches are in the folder {entry.name} within it, so name {entry}"
    kinds = Counter(entry.suffix.lower() for entry in entries if entry.is_file())
    if not kinds:
        return "no file is in it, but for hidden files and those of the system"
    named = ", ".join(
        f"{count} {suffix or 'without a suffix'}" for suffix, count in kinds.most_common(_KINDS)
    )
    pictures = ", ".join(PICTURE_SUFFIXES)
    return f"the files in it are {named} (patches are {pictures})"


def scan_source(path: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Reads whatever kind of source this is, with all its pictures; see `list_source`.

    Raises:
        DataError: as `list_source`, or there is no patch.
    """
    scanned = scan_listing(list_source(path, subjects=subjects))
    if not scanned.labels and not scanned.bad:
        whose = "" if subjects is None else f" of subject {', '.join(sorted(subjects))}"
        raise DataError(f"{path} holds no eye patch{whose}")
    return scanned
