"""Part of a pack, or all of a small one, in memory: as its source would be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_tf.data.packed.chunk import Chunk
from mggr_tf.data.packed.corrupt import CorruptRecords
from mggr_tf.data.packed.index import PackIndex
from mggr_tf.data.packed.records import Records
from mggr_tf.data.schema import EyeSamples


def load(
    index: PackIndex,
    numbers: NDArray[np.int64],
    *,
    corrupt: CorruptRecords,
    progress: Progress = no_progress,
) -> EyeSamples:
    """Reads records into memory; patches in the order of the source.

    Args:
        index: of the pack.
        numbers: of the records, at least one.
        corrupt: counts those that are corrupt, which are left out.
        progress: counts patches.

    Raises:
        DataError: too many are corrupt, or all.
    """
    room = int(index.records["patches"][numbers].sum())
    images = np.empty((room, index.about.patch_size, index.about.patch_size, 3), np.uint8)
    chunks: list[Chunk] = []
    filled = 0
    with progress("reading packed patches", room) as advance:
        for number, data in Records(index).read_all(numbers):
            if not data:
                corrupt.note(number)
                continue
            chunk = Chunk.from_bytes(data)
            images[filled : filled + len(chunk)] = chunk.images
            filled += len(chunk)
            chunks.append(chunk.without_images())
            advance(len(chunk))
    if not chunks:
        raise corrupt.failed()
    return _samples(index, images[:filled], chunks)


def _samples(index: PackIndex, images: NDArray[np.uint8], chunks: list[Chunk]) -> EyeSamples:
    order = np.argsort(np.concatenate([chunk.numbers for chunk in chunks]))
    lengths = [len(chunk.numbers) for chunk in chunks]
    groups = np.repeat([chunk.group for chunk in chunks], lengths)
    return EyeSamples(
        images=images[order],
        gaze_deg=np.concatenate([chunk.gaze_deg for chunk in chunks])[order],
        head_deg=np.concatenate([chunk.head_deg for chunk in chunks])[order],
        subject=np.repeat([chunk.subject for chunk in chunks], lengths)[order],
        # Numbered as `make_samples` numbers them: by subject, side and head pose.
        group=np.unique(groups, return_inverse=True)[1].astype(np.int32)[order],
        source=index.about.source,
        licence=index.about.licence,
    )
