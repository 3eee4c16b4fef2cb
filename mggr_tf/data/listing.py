"""What a source of eye patches lists, before anybody looks at a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.label import EyeLabel


@dataclass(frozen=True)
class BadPatch:
    """A patch that must not be trained on, and why.

    Attributes:
        file: where it lies.
        reason: what is wrong with it.
        fatal: training refuses a source that holds such a patch, because it is not
            what it should be; others, that show no eye for example, are left out.
        within: which patch of a file that holds many.
    """

    file: Path
    reason: str
    fatal: bool = True
    within: str = ""

    @property
    def name(self) -> str:
        """The file's name, and the patch within it."""
        return f"{self.file.name} {self.within}".rstrip()


@dataclass(frozen=True)
class Entry:
    """A patch with its label, and where its picture lies.

    Attributes:
        file: the file.
        label: what is known of it.
        number: which patch of a file that holds many; 0 where a file is one patch.
    """

    file: Path
    label: EyeLabel
    number: int = 0


ReadEntry = Callable[[Entry], NDArray[np.uint8] | BadPatch]
"""Reads a patch, [64, 64, 3] uint8 RGB, nothing mirrored, or says what is wrong with it."""


@dataclass(frozen=True)
class Listing:
    """All patches of a source, one after the other: however many, they need no memory.

    Attributes:
        entries: can be walked once; patches whose label is impossible are bad already.
        read: reads an entry's picture; a plain function, so that processes can share the work.
        licence: what may be done with what is trained on them.
        head_bin_deg: head poses within one bin of this width may be paired; 0
            where head poses were set, not measured, and repeat exactly.
    """

    entries: Iterator[Entry | BadPatch]
    read: ReadEntry
    licence: str
    head_bin_deg: float = 0.0

    def looked_at(self) -> Iterator[tuple[EyeLabel, NDArray[np.uint8]] | BadPatch]:
        """Reads one picture after the other: good ones with their labels, and the bad ones."""
        for entry in self.entries:
            found = entry if isinstance(entry, BadPatch) else self.read(entry)
            if isinstance(entry, BadPatch) or isinstance(found, BadPatch):
                assert isinstance(found, BadPatch)
                yield found
            else:
                yield entry.label, found
