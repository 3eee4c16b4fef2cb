"""Packed patches to train on that stay where they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import DataError
from mggr_tf.config import PackedConfig
from mggr_tf.data.packed.chunk import CorruptRecords
from mggr_tf.data.packed.index import PackIndex, open_index
from mggr_tf.data.schema import EyeSamples, landmarks_unknown


@dataclass(frozen=True, eq=False)
class PackedSamples:
    """Labelled eye patches in a pack. To training they are what `EyeSamples` are.

    Attributes:
        index: of the pack.
        chosen: [N] numbers of the records that are meant, ascending.
        how: they are read.
        corrupt: keeps account of records that cannot be read.
    """

    index: PackIndex
    chosen: NDArray[np.int64]
    how: PackedConfig
    corrupt: CorruptRecords

    def __len__(self) -> int:
        return int(self.index.records["patches"][self.chosen].sum())

    @property
    def source(self) -> str:
        """Where they came from, for the record."""
        return self.index.about.source

    @property
    def licence(self) -> str:
        """What may be done with what is trained on them."""
        return self.index.about.licence

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all subjects, sorted."""
        found = np.unique(self.index.records["subject"][self.chosen])
        return tuple(self.index.about.subjects[place] for place in found)

    @property
    def window_steps(self) -> int:
        """So many steps each chunk in memory is drawn from: about one look at every patch."""
        of_each = len(self) / len(self.chosen)
        return max(1, round(self.how.chunks * of_each / 2))

    def of_subjects(self, wanted: Iterable[str]) -> PackedSamples:
        """Only these subjects' patches.

        Raises:
            DataError: a subject has no patch.
        """
        names = set(wanted)
        missing = sorted(names - set(self.subjects))
        if missing:
            raise DataError(f"{self.source} has no subject {', '.join(missing)}")
        return replace(self, chosen=np.intersect1d(self.chosen, self.index.of_subjects(names)))

    def former_fingerprints(self) -> tuple[str, ...]:
        """None: a pack's fingerprint does not depend on how people are named elsewhere."""
        return ()

    def fingerprint(self) -> str:
        """SHA-256, in hex, of all pictures and labels: of the shards' own, and whose are meant."""
        text = "\n".join([self.index.about.fingerprint, *self.subjects])
        return hashlib.sha256(text.encode()).hexdigest()

    def known_landmarks(self) -> NDArray[np.float32]:
        """As of `EyeSamples`: nobody knows them.

        Raises:
            DataError: always.
        """
        raise landmarks_unknown(self.source)

    def fits_in_memory(self) -> bool:
        """Whether the config lets them be read into memory."""
        return len(self) * self.index.patch_bytes <= self.how.memory_mb * 1e6

    def in_memory(self, *, progress: Progress = no_progress) -> EyeSamples:
        """All of them; see `memory.load`."""
        from mggr_tf.data.packed.reader import load  # needs TensorFlow

        return load(self.index, self.chosen, corrupt=self.corrupt, progress=progress)

    def preview(self, limit: int, *, seed: int = 0) -> EyeSamples:
        """Some whole chunks in memory, chosen by a seed: at most `limit` patches, or one chunk.

        Everybody's first chunk comes before anybody's second.
        """
        from mggr_tf.data.packed.reader import load  # needs TensorFlow

        order = self.chosen[np.random.default_rng(seed).permutation(len(self.chosen))]
        order = order[np.argsort(_nth(self.index.records["subject"][order]), kind="stable")]
        together = np.cumsum(self.index.records["patches"][order])
        count = max(1, int(np.searchsorted(together, limit, side="right")))
        return load(self.index, np.sort(order[:count]), corrupt=self.corrupt)


def _nth(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """[N] how often each value stood there before.

    Example:
        >>> _nth(np.asarray([7, 3, 7, 7, 3])).tolist()
        [0, 0, 1, 2, 1]
    """
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    lengths = np.diff(np.r_[starts, len(values)])
    nth = np.empty(len(values), np.int64)
    nth[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return nth


def open_pack(
    path: Path,
    *,
    how: PackedConfig,
    subjects: tuple[str, ...] | None,
    notify: Callable[[str], None],
) -> PackedSamples:
    """Opens a pack; no picture is read.

    Args:
        path: the folder.
        how: it will be read.
        subjects: only these; None takes all.
        notify: called with corrupt records, when they are found.

    Raises:
        DataError: it is damaged, or a subject has no patch in it.
    """
    index = open_index(path)
    corrupt = CorruptRecords(index, limit=how.corrupt_limit, notify=notify)
    everything = PackedSamples(index, np.arange(len(index.records)), how, corrupt)
    if subjects is None:
        return everything
    missing = sorted(set(subjects) - set(everything.subjects))
    if missing:
        raise DataError(f"{path} has no patch of subject {', '.join(missing)}")
    return everything.of_subjects(subjects)
