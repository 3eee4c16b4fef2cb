"""Drawn eyes that close or are covered, with the labels of their state.

They come beside whatever data is trained on, and show people of their own: nobody of them is
among those whom `source` draws by the same seed.

A value that is NaN is unknown, and what is made of it is unknown too.
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
"""Pixels of a picture along one of those in which an occlusion is measured."""
_IRIS_NEEDED = (0.1, 0.35)
_COVER_ALLOWED = (0.4, 0.75)


class EyeStates(NamedTuple):
    """States of the eyes of pairs.

    Attributes:
        values: [B, 2, 3] in the order of `schema.STATES`, of the sources and the targets.
        regions: [B, 2, 16, 2] pixels, the polygons of `lid_region` that occlusion is measured in.
    """

    values: tf.Tensor
    regions: tf.Tensor


def with_openness(values: tf.Tensor, taller: tf.Tensor) -> tf.Tensor:
    """[B, 2, 3] the states of eyes that were stretched.

    Args:
        taller: [B] what their openness is multiplied by.
    """
    openness = tf.clip_by_value(values[..., :1] * taller[:, None, None], 0, 1)
    return tf.concat([openness, values[..., 1:]], -1)


def with_occlusion(values: tf.Tensor, cover: tf.Tensor, regions: Sequence[tf.Tensor]) -> tf.Tensor:
    """[B, P, 3] the states of eyes behind occluders, beside what covered them before.

    Args:
        values: [B, P, 3].
        cover: [B, H, W] in [0, 1], which all pictures of a row share.
        regions: P times [B, 16, 2] pixels.
    """
    # Coarser pixels serve as well, at a quarter of the work.
    coarse = tf.nn.avg_pool2d(cover[..., None], _COARSER, _COARSER, "VALID")[..., 0]
    size = coarse.shape[1], coarse.shape[2]
    middle = (_COARSER - 1) / 2
    masks = [filled((one - middle) / _COARSER, size) for one in regions]
    covered = tf.stack([covered_share(coarse, mask) for mask in masks], 1)
    occlusion = 1 - (1 - values[..., 2]) * (1 - covered)
    return tf.concat([values[..., :2], occlusion[..., None]], -1)


def gaze_weight(values: tf.Tensor) -> tf.Tensor:
    """[...] how much a gaze label counts, from the state [..., 3] of the eye.

    0 where less than a tenth of the iris or a quarter of the eye is to be seen: nobody can say
    where such an eye looks. 1 from about a third of the iris and three fifths of the eye on. What
    is unknown counts as seen.
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
"""Number of the first person whom no training draws."""


@dataclass(frozen=True)
class ClosingEyes:
    """Drawn eyes that close.

    Attributes:
        train: of people to train on.
        held_out: of others, for validation.
    """

    train: EyeSamples
    held_out: EyeSamples


def closing_people(how: SyntheticConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the people of `ClosingEyes.train` and of `ClosingEyes.held_out`."""
    people = [drawn_name(how.seed, FIRST_CLOSING + i) for i in range(how.closing_subjects)]
    trained = len(people) - max(1, round(_HELD_OUT * len(people)))
    return tuple(people[:trained]), tuple(people[trained:])


def closing_eyes(how: SyntheticConfig, *, progress: Progress = no_progress) -> ClosingEyes:
    """Draws them; a pure function of the config.

    Args:
        how: how many people, and the seed.
        progress: counts pictures.
    """
    samples = _drawn(how.seed, how.closing_subjects, first=FIRST_CLOSING, progress=progress)
    train, held_out = closing_people(how)
    return ClosingEyes(samples.of_subjects(train), samples.of_subjects(held_out))


def unseen_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Eyes of people whom no training draws, with this seed or with another one.

    Args:
        seed: of a run's `synthetic.seed`.
        people: how many.
        progress: counts pictures.
    """
    return _drawn(seed, people, first=_FIRST_UNSEEN, progress=progress)


def trained_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Eyes of the first people of a training by this seed.

    Args:
        seed, people, progress: as of `unseen_closing_eyes`.
    """
    return _drawn(seed, people, first=FIRST_CLOSING, progress=progress)


def _drawn(seed: int, people: int, *, first: int, progress: Progress) -> EyeSamples:
    with progress("drawing eyes that close", None) as advance:
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
    """The same eyes, some of them behind occluders; a pure function of all arguments.

    Args:
        samples: with lid regions and states.
        share: how many of `occluders.SLOTS` occluders there are for each.
        seed: of the occluders.

    Raises:
        DataError: nobody knows the states.
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
