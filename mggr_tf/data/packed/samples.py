"""Use the eye patches of a pack as training samples, without loading all of them into memory.

A pack is a folder that `mggr-tf data pack` wrote. A chunk contains patches of one subject, side and
head pose. A record is a chunk that is stored in a file of the pack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import DataError
from mggr_tf.config.resources import PackedConfig
from mggr_tf.data.packed.index import CorruptRecords, PackIndex, open_index
from mggr_tf.data.schema import EyeSamples, landmarks_unknown


@dataclass(frozen=True, eq=False)
class PackedSamples:
    """Labelled eye patches in a pack. Training can use them instead of `EyeSamples`.

    Attributes:
        index: index of the pack.
        chosen: [N] indices of the selected records in the pack, in ascending order.
        how: config for reading the pack.
        corrupt: counter of the records that cannot be read.
    """

    index: PackIndex
    chosen: NDArray[np.int64]
    how: PackedConfig
    corrupt: CorruptRecords

    def __len__(self) -> int:
        return int(self.index.records["patches"][self.chosen].sum())

    @property
    def source(self) -> str:
        """The name of the folder that was packed."""
        return self.index.about.source

    @property
    def licence(self) -> str:
        """The terms of use for models that are trained on these patches."""
        return self.index.about.licence

    @property
    def subjects(self) -> tuple[str, ...]:
        """The sorted names of all subjects."""
        found = np.unique(self.index.records["subject"][self.chosen])
        return tuple(self.index.about.subjects[place] for place in found)

    @property
    def window_steps(self) -> int:
        """The number of training steps during which a chunk stays in memory.

        With this number, each patch is used about once.
        """
        of_each = len(self) / len(self.chosen)
        return max(1, round(self.how.chunks * of_each / 2))

    def of_subjects(self, wanted: Iterable[str]) -> PackedSamples:
        """Return only the patches of the wanted subjects.

        Raises:
            DataError: a wanted subject has no patch.
        """
        names = set(wanted)
        missing = sorted(names - set(self.subjects))
        if missing:
            raise DataError(
                f"{self.source} contains no subject {', '.join(missing)}",
                code="subject-unknown",
                source=self.source,
                subjects=", ".join(missing),
            )
        return replace(self, chosen=np.intersect1d(self.chosen, self.index.of_subjects(names)))

    def former_fingerprints(self) -> tuple[str, ...]:
        """Return an empty tuple.

        A pack stores the names of its subjects. Therefore the fingerprint of a pack is the same in
        all versions of the program.
        """
        return ()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the pack and the selected subjects, in hexadecimal digits.

        The fingerprint that is stored in the pack depends on the checksums of all files. The result
        therefore depends on all images and labels.
        """
        text = "\n".join([self.index.about.fingerprint, *self.subjects])
        return hashlib.sha256(text.encode()).hexdigest()

    def known_landmarks(self) -> NDArray[np.float32]:
        """Raise an error, because packs contain no landmarks.

        Raises:
            DataError: always.
        """
        raise landmarks_unknown(self.source)

    def fits_in_memory(self) -> bool:
        """Return whether the selected patches are within the memory limit of the config."""
        return len(self) * self.index.patch_bytes <= self.how.memory_mb * 1e6

    def in_memory(self, *, progress: Progress = no_progress) -> EyeSamples:
        """Read all selected patches into memory. See `mggr_tf.data.packed.reader.load`."""
        from mggr_tf.data.packed.reader import load  # needs TensorFlow

        return load(self.index, self.chosen, corrupt=self.corrupt, progress=progress)

    def preview(self, limit: int, *, seed: int = 0) -> EyeSamples:
        """Read randomly chosen chunks into memory.

        The result has at most `limit` patches, but at least one chunk. First, one chunk of every
        subject is chosen, then a second chunk of every subject, and so on.
        """
        from mggr_tf.data.packed.reader import load  # needs TensorFlow

        order = self.chosen[np.random.default_rng(seed).permutation(len(self.chosen))]
        order = order[np.argsort(_nth(self.index.records["subject"][order]), kind="stable")]
        together = np.cumsum(self.index.records["patches"][order])
        count = max(1, int(np.searchsorted(together, limit, side="right")))
        return load(self.index, np.sort(order[:count]), corrupt=self.corrupt)


def _nth(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count, for each of N elements, how many earlier elements have the same value.

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
    """Open a pack. No images are read.

    Args:
        path: folder of the pack.
        how: config for reading the pack.
        subjects: names of the subjects to select. `None` selects all subjects.
        notify: callback for messages about corrupt records.

    Raises:
        DataError: the pack is damaged.
        DataError: the pack contains no patch of a subject in `subjects`.
    """
    index = open_index(path)
    corrupt = CorruptRecords(index, limit=how.corrupt_limit, notify=notify)
    everything = PackedSamples(index, np.arange(len(index.records)), how, corrupt)
    if subjects is None:
        return everything
    missing = sorted(set(subjects) - set(everything.subjects))
    if missing:
        raise DataError(
            f"{path} contains no patch of subject {', '.join(missing)}",
            code="subject-without-patch",
            path=path,
            subjects=", ".join(missing),
        )
    return everything.of_subjects(subjects)
