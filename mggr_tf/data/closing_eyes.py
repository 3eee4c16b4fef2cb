"""Synthetic eyes that are closing or occluded, with labels of the eye state.

They are used in addition to the training data. Their subjects differ from the subjects that
`mggr_tf.data.source` renders with the same seed.

NaN marks an unknown value; values that are computed from it are NaN, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mggr_edge.common.progress import Progress, from_counts, no_progress
from mggr_edge.models.network_io import image_from_network, image_to_network
from mggr_tf.config.sizes import SyntheticConfig
from mggr_tf.data.names import drawn_name
from mggr_tf.data.occluders import covered_share, filled, occlude
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import drawing_processes, samples_of_drawn
from mggr_tf.drawn_eyes import draw_closing_eyes
from mggr_tf.drawn_eyes.closing import FIRST_CLOSING

_COARSER = 2
"""Factor by which an image is downsampled for measuring the occlusion."""
_IRIS_NEEDED = (0.1, 0.35)
_COVER_ALLOWED = (0.4, 0.75)


class EyeStates(NamedTuple):
    """Eye states of pairs.

    Attributes:
        values: [B, 2, 3] in the order of `mggr_tf.data.schema.STATES`, of the source and the
            target.
        regions: [B, 2, 16, 2] pixels, polygons (`mggr_tf.drawn_eyes.lids.lid_region`) in which the
            occlusion is measured.
    """

    values: tf.Tensor
    regions: tf.Tensor


def with_openness(values: tf.Tensor, taller: tf.Tensor) -> tf.Tensor:
    """Return the states [B, 2, 3] of eyes whose images were stretched.

    Args:
        values: [B, 2, 3], states before stretching.
        taller: [B], factor of the eye opening.
    """
    openness = tf.clip_by_value(values[..., :1] * taller[:, None, None], 0, 1)
    return tf.concat([openness, values[..., 1:]], -1)


def with_occlusion(values: tf.Tensor, cover: tf.Tensor, regions: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the states [B, P, 3] of eyes behind occluders, combined with the occlusion before.

    Args:
        values: [B, P, 3], states before the occluders are added.
        cover: [B, H, W] in [0, 1], covered fraction of each pixel, shared by all images of a row.
        regions: P tensors [B, 16, 2] in pixels, the lid regions.
    """
    # Half the resolution is precise enough and needs a quarter of the computation.
    coarse = tf.nn.avg_pool2d(cover[..., None], _COARSER, _COARSER, "VALID")[..., 0]
    size = coarse.shape[1], coarse.shape[2]
    middle = (_COARSER - 1) / 2
    masks = [filled((one - middle) / _COARSER, size) for one in regions]
    covered = tf.stack([covered_share(coarse, mask) for mask in masks], 1)
    occlusion = 1 - (1 - values[..., 2]) * (1 - covered)
    return tf.concat([values[..., :2], occlusion[..., None]], -1)


def gaze_weight(values: tf.Tensor) -> tf.Tensor:
    """Return the weight [...] of a gaze label for the eye state [..., 3].

    The weight is 0 if less than a tenth of the iris or a quarter of the eye opening is visible,
    because the gaze of such an eye cannot be determined. It rises to 1 at about a third of the iris
    and three fifths of the eye opening. Unknown values count as visible.
    """
    known = tf.where(tf.math.is_nan(values), tf.constant([1.0, 1.0, 0.0]), values)
    least, enough = _IRIS_NEEDED
    iris = tf.clip_by_value((known[..., 1] - least) / (enough - least), 0, 1)
    little, most = _COVER_ALLOWED
    free = tf.clip_by_value((most - known[..., 2]) / (most - little), 0, 1)
    return iris * free


_PER_GROUP = 6
_HELD_OUT = 0.1
_FIRST_UNSEEN = 2 * FIRST_CLOSING
"""Number of the first subject that is never used for training."""


@dataclass(frozen=True)
class ClosingEyes:
    """Synthetic eyes that are closing.

    Attributes:
        train: samples of the subjects for training.
        held_out: samples of other subjects, for validation.
    """

    train: EyeSamples
    held_out: EyeSamples


def closing_people(how: SyntheticConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the subjects of `ClosingEyes.train` and of `ClosingEyes.held_out`."""
    people = [drawn_name(how.seed, FIRST_CLOSING + i) for i in range(how.closing_subjects)]
    trained = len(people) - max(1, round(_HELD_OUT * len(people)))
    return tuple(people[:trained]), tuple(people[trained:])


def closing_eyes(how: SyntheticConfig, *, progress: Progress = no_progress) -> ClosingEyes:
    """Render the closing eyes of a config; a pure function of the config.

    Args:
        how: config with the number of subjects and the seed.
        progress: progress bar factory; it counts images.
    """
    samples = _drawn(how.seed, how.closing_subjects, first=FIRST_CLOSING, progress=progress)
    train, held_out = closing_people(how)
    return ClosingEyes(samples.of_subjects(train), samples.of_subjects(held_out))


def unseen_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Render closing eyes of subjects that training never uses, with this or any other seed.

    Args:
        seed: value of `synthetic.seed` of a run.
        people: number of subjects.
        progress: progress bar factory; it counts images.
    """
    return _drawn(seed, people, first=_FIRST_UNSEEN, progress=progress)


def trained_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Render closing eyes of the first subjects of a training run with this seed.

    Args:
        seed, people, progress: see `unseen_closing_eyes`.
    """
    return _drawn(seed, people, first=FIRST_CLOSING, progress=progress)


def _drawn(seed: int, people: int, *, first: int, progress: Progress) -> EyeSamples:
    with progress("rendering closing eyes", None) as advance:
        drawn = draw_closing_eyes(
            subjects=people,
            per_group=_PER_GROUP,
            seed=seed,
            first=first,
            workers=drawing_processes(people),
            progress=from_counts(advance),
        )
    return samples_of_drawn(drawn, seed=seed)


_BATCH = 64


def behind_occluders(samples: EyeSamples, *, share: float, seed: int) -> EyeSamples:
    """Place occluders in front of some of the eyes; a pure function of all arguments.

    Args:
        samples: samples with lid regions and states.
        share: probability, in [0, 1], that each of the `mggr_tf.data.occluders.SLOTS` occluders of
            an image is present.
        seed: seed of the occluders.

    Raises:
        DataError: the states are unknown.
    """
    values, lids = samples.known_state()
    images, state = np.empty_like(samples.images), np.empty_like(values)
    for first in range(0, len(samples), _BATCH):
        rows = slice(first, first + _BATCH)
        pictures, cover = occlude(
            tf.constant(image_to_network(samples.images[rows])),
            seed=tf.constant([seed, first]),
            share=share,
        )
        images[rows] = image_from_network(pictures.numpy())
        regions = [tf.constant(lids[rows])]
        state[rows] = with_occlusion(tf.constant(values[rows, None]), cover, regions)[:, 0]
    return replace(samples, images=images, state=state)
