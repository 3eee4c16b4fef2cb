"""Create training pairs from a pack. Only a few chunks for each batch row are in memory.

A pack stores the patches (images of one eye) in chunks. A chunk contains patches of one subject,
side and head pose. A row of a batch is one pair of patches.

In each epoch, the chunks are used in a pseudo-random order. The order is not stored. A cipher
computes the chunk at each position. The key of the cipher consists of the seed and the epoch.

Each row of a batch has its own chunks, which are consecutive in the pseudo-random order. These
chunks are the window of the row. The pairs of the row come from its window for several steps, until
each patch was used about once. Meanwhile, the next window is read.

The content of a batch depends only on the seed and the step. A resumed run therefore uses the same
batches as a run without interruption. A device reads only the chunks of the rows that it processes.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from mggr_edge.errors import DataError
from mggr_edge.models.conventions import Conventions
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.packed.chunk import Records, chunk_tensors
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.pair_inputs import DrawnPairs, PairInputs
from mggr_tf.data.pairs import Closing, Mix, two_different
from mggr_tf.data.rows import Shares

Tensors = dict[str, tf.Tensor]

_ROUNDS = 4
"""The number of rounds of the cipher. The shuffle of TensorFlow uses the same number."""


def packed_pair_dataset(
    samples: PackedSamples,
    *,
    shares: Shares,
    seed: int,
    steps: tuple[int, int],
    augmentation: Augmentation,
    conventions: Conventions,
    with_flow: bool = False,
    with_landmarks: bool = False,
    closing: Closing | None = None,
) -> tf.data.Dataset:
    """Return a dataset of training pairs, for patches that do not fit into memory.

    See `pairs.pair_dataset` for the arguments and the elements. A pack does not contain the
    positions of the lids. Therefore the average positions are used
    (`mggr_tf.drawn_eyes.rendered.USUAL_REGION`).

    Raises:
        DataError: `with_flow` or `with_landmarks` is true. Packs contain neither flow nor
            landmarks.
    """
    if with_flow:
        raise DataError(
            f"{samples.source} contains no exact flow, but the loss 'exact_flow' requires it: "
            "train on `synthetic`, or set the weight of the loss 'exact_flow' to 0",
            code="flow-unknown",
            source=samples.source,
            loss="exact_flow",
        )
    if with_landmarks:
        samples.known_landmarks()
    windows = _Windows(samples, shares, seed)
    mix = Mix(closing)
    as_inputs = PairInputs(augmentation, conventions)

    def draw(element: tf.Tensor, chunks: Tensors) -> Tensors:
        rows = shares.rows_of(element)
        seeds = tf.random.experimental.stateless_split([seed, shares.step_of(element)], 4)
        choice = rows.whole([], seeds[0], low=0, high=windows.chunks)
        row = tf.cast(element % shares.local, tf.int32) * shares.each + tf.range(shares.each)
        chunk = row * windows.chunks + choice
        first, second = two_different(tf.gather(chunks["count"], chunk), seeds[1], seeds[2], rows)
        source, target = tf.stack([chunk, first], 1), tf.stack([chunk, second], 1)
        images, gaze = chunks["images"], chunks["gaze_deg"]
        drawn = DrawnPairs(
            images=(tf.gather_nd(images, source), tf.gather_nd(images, target)),
            gaze_deg=(tf.gather_nd(gaze, source), tf.gather_nd(gaze, target)),
            head_deg=tf.gather_nd(chunks["head_deg"], source),
        )
        if closing is not None:
            drawn = mix(drawn.with_usual_state(images.shape[2]), seed=seeds[0], rows=rows)
        return as_inputs(drawn, seed=seeds[3], rows=rows)

    def pairs_of(window: tf.Tensor, chunks: Tensors) -> tf.data.Dataset:
        first, last = windows.elements(window, steps)
        return tf.data.Dataset.range(first, last).map(lambda element: draw(element, chunks))

    return windows.dataset(steps).prefetch(1).flat_map(pairs_of).prefetch(2)


class _Windows:
    """Assigns chunks to batch rows and steps, and reads the chunks."""

    def __init__(self, samples: PackedSamples, shares: Shares, seed: int) -> None:
        self.chunks = samples.how.chunks
        self._samples, self._shares, self._seed = samples, shares, seed
        self._steps = samples.window_steps
        self._records, self._chosen = Records(samples.index), tf.constant(samples.chosen)

    def dataset(self, steps: tuple[int, int]) -> tf.data.Dataset:
        """Return a dataset of the windows that the steps [first, last) use.

        An element is a tuple (window number, chunks). The chunks have the order of the rows.
        """
        last = -(-steps[1] // self._steps) if steps[1] > steps[0] else steps[0] // self._steps
        numbers = tf.data.Dataset.range(steps[0] // self._steps, last)
        chunks = (
            numbers.flat_map(lambda n: tf.data.Dataset.from_tensor_slices(self._places(n)))
            .map(self._found, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .map(self._whole)
            .map(self._chunk, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(self._shares.local * self._shares.each * self.chunks, drop_remainder=True)
        )
        return tf.data.Dataset.zip((numbers, chunks))

    def elements(self, window: tf.Tensor, steps: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the range of the elements (see `Shares.elements`) that use a window.

        The range is limited to the elements of the steps [first, last).
        """
        first = tf.maximum(window * self._steps, steps[0])
        last = tf.minimum((window + 1) * self._steps, steps[1])
        return first * self._shares.local, last * self._shares.local

    def _places(self, window: tf.Tensor) -> tf.Tensor:
        """Return the indices of the chunks of a window, [local rows * chunks] int64.

        Each value is an index into the array `PackedSamples.chosen`.
        """
        rows = [self._shares.rows_of(tf.constant(n)).chosen for n in range(self._shares.local)]
        row = window * self._shares.batch + tf.cast(tf.concat(rows, 0), tf.int64)
        nth = tf.reshape(row[:, None] * self.chunks + tf.range(self.chunks, dtype=tf.int64), [-1])
        count = len(self._samples.chosen)
        epoch = nth // count
        of_all = tf.ones_like(epoch)
        # The public TensorFlow op has one seed for all indices. Here, each index needs its own
        # seed. The code therefore uses the raw op.
        return tf.raw_ops.RandomIndexShuffle(
            index=nth % count,
            seed=tf.stack([of_all * self._seed, epoch, of_all], 1),
            max_index=of_all * (count - 1),
            rounds=_ROUNDS,
        )

    def _found(self, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return place, self._read(place)

    def _whole(self, place: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
        """Return the record at this position as a string.

        If the record is corrupt, return the next valid record. This method is a separate step
        because it can call Python. With deterministic ops, TensorFlow does not run a step that can
        call Python in parallel.
        """

        def is_corrupt(_: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
            return tf.equal(tf.strings.length(data), 0)

        def next_one(at: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            following = tf.numpy_function(self._note, [at], tf.int64)
            following.set_shape([])
            return self._found(following)

        return tf.while_loop(is_corrupt, next_one, (place, data))[1]

    def _chunk(self, data: tf.Tensor) -> Tensors:
        about = self._samples.index.about
        return chunk_tensors(data, room=about.chunk_patches, size=about.patch_size)

    def _read(self, place: tf.Tensor) -> tf.Tensor:
        return self._records.read(tf.gather(self._chosen, place))

    def _note(self, place: np.int64) -> np.int64:
        samples = self._samples
        samples.corrupt.note(int(samples.chosen[place]))
        if len(samples.corrupt) >= len(samples.chosen):
            raise samples.corrupt.failed()  # All records are corrupt.
        return np.int64((int(place) + 1) % len(samples.chosen))
