"""One fingerprint for one set of pictures and labels, and another for any other."""

from dataclasses import replace

import numpy as np
import pytest

from mggr_tf.data.names import drawn_name


def test_the_same_pictures_and_labels_have_the_same_fingerprint(samples):
    again = replace(samples, images=samples.images.copy(), source="elsewhere")
    assert again.fingerprint() == samples.fingerprint()


@pytest.mark.parametrize("name", ["images", "gaze_deg", "head_deg", "group"])
def test_one_other_number_is_another_fingerprint(samples, name):
    values = getattr(samples, name).copy()
    values.flat[-1] += 1
    assert replace(samples, **{name: values}).fingerprint() != samples.fingerprint()


def test_another_name_is_another_fingerprint(samples):
    names = samples.subject.copy()
    names[-1] = "0009"
    assert replace(samples, subject=names).fingerprint() != samples.fingerprint()


def test_another_order_is_another_fingerprint(samples):
    order = np.arange(len(samples))[::-1]
    turned = replace(samples, images=samples.images[order], gaze_deg=samples.gaze_deg[order])
    assert turned.fingerprint() != samples.fingerprint()


def test_states_are_labels_that_earlier_versions_did_not_know(samples):
    drawn = replace(samples, subject=np.asarray([drawn_name(3, 0)] * len(samples)))
    states = replace(
        drawn,
        state=np.full((len(samples), 3), 0.5, np.float32),
        lid_region=np.full((len(samples), 16, 2), 30, np.float32),
    )
    assert states.fingerprint() != drawn.fingerprint()
    assert drawn.fingerprint() in states.former_fingerprints()
    some = states.of_subjects(states.subjects).first(5)
    assert some.state.shape == (5, 3)
    assert some.lid_region.shape == (5, 16, 2)
    other = replace(states, state=states.state + np.float32(0.1))
    assert other.fingerprint() != states.fingerprint()
