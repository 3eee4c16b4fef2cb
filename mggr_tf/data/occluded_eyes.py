"""Samples behind occluders, with what is then known of their state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from mggr_edge.models.network_io import image_from_network, image_to_network
from mggr_tf.data.occluders import occlude
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.state_labels import with_occlusion

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
