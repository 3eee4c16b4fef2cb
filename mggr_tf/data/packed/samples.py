"""Training samples in a pack that stay on disk."""

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
from mggr_tf.data.packed.index import CorruptRecords, PackIndex, open_index
from mggr_tf.data.schema import EyeSamples, landmarks_unknown


@dataclass(frozen=True, eq=False)
class PackedSamples:
    """Labelled eye patches in a pack, with the same role in training as `EyeSamples`.

    Attributes:
        index: index of the pack.
        chosen: [N] numbers of the selected records, ascending.
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
        """Name of the folder that was packed."""
        return self.index.about.source

    @property
    def licence(self) -> str:
        """Terms of use for models that are trained on these patches."""
        return self.index.about.licence

    @property
    def subjects(self) -> tuple[str, ...]:
        """Sorted names of all subjects."""
        found = np.unique(self.index.records["subject"][self.chosen])
        return tuple(self.index.about.subjects[place] for place in found)

    @property
    def window_steps(self) -> int:
        """Number of steps that use each chunk in memory; each patch is used about once."""
        of_each = len(self) / len(self.chosen)
        return max(1, round(self.how.chunks * of_each / 2))

    def of_subjects(self, wanted: Iterable[str]) -> PackedSamples:
        """Return only the patches of these subjects.

        Raises:
            DataError: a subject has no patch.
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
        """Return (), because a pack's fingerprint does not depend on how names are formed."""
        return ()

    def fingerprint(self) -> str:
        """Return the SHA-256, in hex, of the pack's fingerprint and the selected subjects.

        It covers all images and labels, because the pack's fingerprint includes the checksums of
        the shards.
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
        """Return whether the selected patches fit into the memory limit of the config."""
        return len(self) * self.index.patch_bytes <= self.how.memory_mb * 1e6

    def in_memory(self, *, progress: Progress = no_progress) -> EyeSamples:
        """Read all selected patches into memory; see `mggr_tf.data.packed.reader.load`."""
        from mggr_tf.data.packed.reader import load  # needs TensorFlow

        return load(self.index, self.chosen, corrupt=self.corrupt, progress=progress)

    def preview(self, limit: int, *, seed: int = 0) -> EyeSamples:
        """Read some random chunks into memory: at most `limit` patches, but at least one chunk.

        The first chunk of every subject is chosen before the second chunk of any subject.
        """
        from mggr_tf.data.packed.reader import load  # needs TensorFlow

        order = self.chosen[np.random.default_rng(seed).permutation(len(self.chosen))]
        order = order[np.argsort(_nth(self.index.records["subject"][order]), kind="stable")]
        together = np.cumsum(self.index.records["patches"][order])
        count = max(1, int(np.searchsorted(together, limit, side="right")))
        return load(self.index, np.sort(order[:count]), corrupt=self.corrupt)


def _nth(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return [N]: for each element, the number of equal elements before it.

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
    """Open a pack without reading images.

    Args:
        path: folder of the pack.
        how: config for reading the pack.
        subjects: names of the subjects to select; None selects all.
        notify: callback for messages about corrupt records, called when they are found.

    Raises:
        DataError: the pack is damaged, or a subject has no patch in it.
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
