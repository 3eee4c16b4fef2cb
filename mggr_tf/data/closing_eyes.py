"""Render closing or occluded synthetic eyes, and compute the labels of their state.

Closing eyes are synthetic eyes at any stage from open to closed. Occluders are objects in front of
an eye, for example a hand or hair. The state of an eye consists of the openness, the visible
fraction of the iris, and the occlusion. Training uses closing eyes in addition to the data source
of the run. The subjects of closing eyes differ from the subjects that `mggr_tf.data.source` renders
with the same seed.

An unknown value is NaN. Results that depend on an unknown value are NaN, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mggr_edge.common.progress import Progress, from_counts, no_progress
from mggr_edge.models.network_io import image_from_network, image_to_network
from mggr_tf.config.resources import SyntheticConfig
from mggr_tf.data.names import drawn_name
from mggr_tf.data.occluders import occlude
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import drawing_processes, samples_of_drawn
from mggr_tf.drawn_eyes import draw_closing_eyes
from mggr_tf.drawn_eyes.closing import FIRST_CLOSING

_COARSER = 2
"""The images are downsampled by this factor before the occlusion is measured."""
_IRIS_NEEDED = (0.1, 0.35)
_COVER_ALLOWED = (0.4, 0.75)


class EyeStates(NamedTuple):
    """The eye states of pairs. A pair consists of a source image and a target image.

    Attributes:
        values: [B, 2, 3], states of source and target. `mggr_tf.data.schema.STATES` contains the
            names of the three values.
        regions: [B, 2, 16, 2] pixels (x, y). Each polygon of 16 points is the region in which the
            occlusion is measured (`mggr_tf.drawn_eyes.rendered.lid_region`).
    """

    values: tf.Tensor
    regions: tf.Tensor


def with_openness(values: tf.Tensor, taller: tf.Tensor) -> tf.Tensor:
    """Return the states [B, 2, 3] of eyes whose images were stretched.

    Args:
        values: [B, 2, 3], states before stretching.
        taller: [B], factors by which the stretching changed the ratio of height to width of the eye
            openings.
    """
    openness = tf.clip_by_value(values[..., :1] * taller[:, None, None], 0, 1)
    return tf.concat([openness, values[..., 1:]], -1)


def with_occlusion(values: tf.Tensor, cover: tf.Tensor, regions: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the states [B, P, 3] of eyes after occluders were added.

    The new occlusion combines the old occlusion with the area that the occluders cover.

    Args:
        values: [B, P, 3], states before the occluders are added.
        cover: [B, H, W] in [0, 1], covered fraction of each pixel. All P images of a batch row have
            the same occluders.
        regions: P tensors [B, 16, 2] in pixels, the lid regions.
    """
    # Half of the resolution is precise enough, and takes only a quarter of the computation time.
    coarse = tf.nn.avg_pool2d(cover[..., None], _COARSER, _COARSER, "VALID")[..., 0]
    size = coarse.shape[1], coarse.shape[2]
    middle = (_COARSER - 1) / 2
    masks = [filled((one - middle) / _COARSER, size) for one in regions]
    covered = tf.stack([covered_share(coarse, mask) for mask in masks], 1)
    occlusion = 1 - (1 - values[..., 2]) * (1 - covered)
    return tf.concat([values[..., :2], occlusion[..., None]], -1)


def covered_share(cover: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Return the covered fraction [B] of each mask. For an empty mask, the fraction is NaN.

    Args:
        cover: [B, H, W] in [0, 1], covered fraction of each pixel.
        masks: [B, H, W] in [0, 1], as returned by `filled`.
    """
    area = tf.reduce_sum(masks, [1, 2])
    inside = tf.reduce_sum(cover * masks, [1, 2])
    return tf.where(area > 0, tf.math.divide_no_nan(inside, area), float("nan"))


def filled(polygons: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Convert polygons to masks [B, H, W].

    The value of a pixel is the fraction of its horizontal middle line that is inside the polygon.

    Args:
        polygons: [B, N, 2] pixels (x, y). The polygons are closed. The edges of a polygon must not
            cross each other. A polygon that contains NaN has an empty mask.
        size: (height, width) of the masks.
    """
    x1, y1 = polygons[..., 0], polygons[..., 1]
    x2, y2 = tf.roll(x1, -1, axis=1), tf.roll(y1, -1, axis=1)
    row = tf.range(size[0], dtype=tf.float32)[None, None, :]
    down = tf.cast(y1[..., None] <= row, tf.float32) - tf.cast(y2[..., None] <= row, tf.float32)
    slope = tf.math.divide_no_nan(x2 - x1, y2 - y1)[..., None]
    # [B, N, H], the x position at which an edge crosses a pixel row.
    meets = x1[..., None] + slope * (row - y1[..., None])
    meets = tf.where(down == 0, 0.0, meets)
    left_of_it = tf.range(size[1], dtype=tf.float32) - 0.5
    reached = tf.clip_by_value(meets[..., None] - left_of_it, 0, 1)
    return tf.abs(tf.einsum("bnh,bnhw->bhw", down, reached))


def gaze_weight(values: tf.Tensor) -> tf.Tensor:
    """Return the weights [...] of the gaze labels of eyes with the states [..., 3].

    If less than 10 % of the iris or less than 25 % of the eye opening is visible, the gaze cannot
    be determined, and the weight is 0. If at least 35 % of the iris and 60 % of the eye opening are
    visible, the weight is 1. Between these limits, the weight increases. An unknown value counts as
    visible.
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
"""The number of the first subject that is never used for training."""


@dataclass(frozen=True)
class ClosingEyes:
    """The closing eyes of a run.

    Attributes:
        train: samples of the subjects for training.
        held_out: samples of all other subjects, for validation.
    """

    train: EyeSamples
    held_out: EyeSamples


def closing_people(how: SyntheticConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the subjects for training, and of the held-out subjects."""
    people = [drawn_name(how.seed, FIRST_CLOSING + i) for i in range(how.closing_subjects)]
    trained = len(people) - max(1, round(_HELD_OUT * len(people)))
    return tuple(people[:trained]), tuple(people[trained:])


def closing_eyes(how: SyntheticConfig, *, progress: Progress = no_progress) -> ClosingEyes:
    """Render the closing eyes of a run. Equal configs result in equal images.

    Args:
        how: config with the number of subjects and the seed.
        progress: function that creates a progress bar. The progress bar counts images.
    """
    samples = _drawn(how.seed, how.closing_subjects, first=FIRST_CLOSING, progress=progress)
    train, held_out = closing_people(how)
    return ClosingEyes(samples.of_subjects(train), samples.of_subjects(held_out))


def unseen_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Render closing eyes of subjects that no training run uses.

    Args:
        seed: value of the setting `synthetic.seed` of a run.
        people: number of subjects.
        progress: function that creates a progress bar. The progress bar counts images.
    """
    return _drawn(seed, people, first=_FIRST_UNSEEN, progress=progress)


def trained_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Render closing eyes of the first subjects that a training run with this seed uses.

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
    """Add occluders to some of the images. Equal arguments result in equal images.

    Args:
        samples: samples with lid regions and states.
        share: probability in [0, 1] of each of the `mggr_tf.data.occluders.SLOTS` occluders.
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
