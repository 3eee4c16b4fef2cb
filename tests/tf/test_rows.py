"""Batches are dealt to replicas row by row: together they see what one device would have seen."""

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import ConfigError
from mggr_edge.models.conventions import Conventions
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.pairs import pair_dataset
from mggr_tf.data.rows import Rows, Shares
from refusals import refusal

EVERYTHING = Augmentation(
    gamma=0.2, ramp=0.3, blur=0.5, noise=0.02, stretch=0.1, occlusion=0.5, colour_mix=0.5
)


def batches(samples, shares, steps=(0, 3)):
    made = pair_dataset(
        samples,
        shares=shares,
        seed=5,
        steps=steps,
        augmentation=EVERYTHING,
        conventions=Conventions(),
    )
    return [{name: value.numpy() for name, value in batch.items()} for batch in made]


@pytest.mark.extended
def test_two_workers_of_two_devices_see_the_rows_of_one_device(samples):
    whole = batches(samples, Shares(8))
    workers = [batches(samples, Shares(8, 4, first, 2)) for first in (0, 2)]
    for step, batch in enumerate(whole):
        parts = [worker[2 * step + local] for worker in workers for local in (0, 1)]
        for name, value in batch.items():
            together = np.concatenate([part[name] for part in parts])
            np.testing.assert_allclose(together, value, atol=1e-5, err_msg=name)


@pytest.mark.extended
def test_each_part_of_a_batch_is_shared(samples):
    """Of two critic steps a replica has half of the first part and half of the second."""
    (whole,) = batches(samples, Shares(8), (0, 1))
    halves = [batches(samples, Shares(8, 2, first, 1, parts=2), (0, 1))[0] for first in (0, 1)]
    for part in (0, 1):
        for replica in (0, 1):
            ours = halves[replica]["eye"][2 * part : 2 * part + 2]
            theirs = whole["eye"][4 * part + 2 * replica : 4 * part + 2 * replica + 2]
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.extended
def test_a_later_step_needs_no_earlier_one(samples):
    (late,) = batches(samples, Shares(4), (2, 3))
    np.testing.assert_array_equal(late["eye"], batches(samples, Shares(4))[2]["eye"])


def test_a_batch_that_cannot_be_shared_is_refused():
    with refusal(ConfigError, "batch-not-divisible", batch=9, devices=2):
        Shares(9, 2)
    with refusal(ConfigError, "batch-not-divisible", batch=6, devices=4):
        Shares(12, 4, parts=2)


def test_noise_is_drawn_for_the_chosen_rows_alone():
    seed = tf.constant([1, 2])
    whole = Rows.all(4).noise([3, 2], seed)
    some = Rows(4, tf.constant([1, 3])).noise([3, 2], seed)
    np.testing.assert_array_equal(some, tf.gather(whole, [1, 3]))
    assert abs(float(tf.reduce_mean(Rows.all(400).noise([10], seed)))) < 0.1
