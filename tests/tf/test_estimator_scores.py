"""Scores of a gaze estimator, on answers whose numbers are known beforehand."""

import dataclasses

import numpy as np
import pytest

from mggr_edge.models.conventions import Conventions
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.bootstrap import correlation, draw_subjects
from mggr_tf.evaluation.estimator_scores import score_estimator, scores_text

CONVENTIONS = Conventions()
PEOPLE = 8


@pytest.fixture
def crowd() -> EyeSamples:
    """Eight people who look five by seven ways at three head yaws; pictures count them."""
    pitch, yaw, head = (
        axis.ravel() for axis in np.meshgrid([-10, -5, 0, 5, 10], range(-15, 16, 5), [-30, 0, 30])
    )
    each = len(pitch)
    count = PEOPLE * each
    images = np.zeros((count, 64, 64, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    return EyeSamples(
        images=images,
        gaze_deg=np.tile(np.stack([pitch, yaw], 1), (PEOPLE, 1)).astype(np.float32),
        head_deg=np.tile(np.stack([0 * head, head], 1), (PEOPLE, 1)).astype(np.float32),
        subject=np.repeat([f"{n:04d}" for n in range(PEOPLE)], each),
        group=np.zeros(count, np.int32),
        source="counted",
        licence="none",
    )


def answering(samples, seen_deg):
    """An estimator that knows which picture it is shown."""

    def estimate(inputs):
        number = np.rint((inputs["eye"][:, 0, 0, :2] + 1) * 127.5).astype(int) @ [1, 256]
        return seen_deg[number] / np.asarray(CONVENTIONS.gaze_scale_deg, np.float32)

    return score_estimator(estimate, samples, conventions=CONVENTIONS)


def test_a_perfect_estimator(crowd):
    found = answering(crowd, crowd.gaze_deg)
    assert found.patches == len(crowd) == PEOPLE * 105
    assert found.error_deg == pytest.approx(0, abs=0.01)
    for axis in found.axes.values():
        assert (axis.correlation, axis.within_person) == pytest.approx((1, 1), abs=1e-6)
        assert axis.slope == pytest.approx(1, abs=1e-5)
        assert axis.bias_deg == pytest.approx(0, abs=1e-5)
        assert axis.by_head_yaw == pytest.approx({"-30": 1, "+0": 1, "+30": 1}, abs=1e-6)


def test_what_is_everybody_s_and_what_is_each_one_s(crowd):
    """Half the angle, 3 degrees too high, and each person's own number on top of that."""
    own = np.repeat(np.linspace(-7, 7, PEOPLE), 105).astype(np.float32)
    seen = 0.5 * crowd.gaze_deg
    seen[:, 0] += 3 + own
    found = answering(crowd, seen)
    pitch, yaw = found.axes["pitch"], found.axes["yaw"]
    assert (pitch.slope, yaw.slope) == pytest.approx((0.5, 0.5), abs=1e-5)
    assert (pitch.bias_deg, yaw.bias_deg) == pytest.approx((3, 0), abs=1e-4)
    assert pitch.between_people_deg == pytest.approx(own.std(), rel=1e-4)
    assert yaw.between_people_deg == pytest.approx(0, abs=1e-4)
    assert (pitch.within_person, yaw.within_person) == pytest.approx((1, 1), abs=1e-5)
    # Half of the labels' spread beside the people's: closed form.
    half = 0.5 * crowd.gaze_deg[:, 0].std()
    assert pitch.correlation == pytest.approx(half / np.hypot(half, own.std()), rel=1e-4)
    assert pitch.interval.low < pitch.correlation < pitch.interval.high
    assert yaw.correlation == pytest.approx(1, abs=1e-5)


def test_a_head_pose_at_which_it_fails_stands_by_itself(crowd):
    seen = crowd.gaze_deg.copy()
    seen[crowd.head_deg[:, 1] == -30, 1] *= -1
    by_head = answering(crowd, seen).axes["yaw"].by_head_yaw
    assert by_head == pytest.approx({"-30": -1, "+0": 1, "+30": 1}, abs=1e-5)


def test_few_people_have_no_interval_and_a_table_says_so(crowd):
    few = crowd.of_subjects(["0000", "0001"])
    text = scores_text(answering(few, crowd.gaze_deg))
    assert "210 patches of 2 subjects; mean error 0.00 degrees" in text
    assert text.splitlines()[3].split() == ["pitch", "1.000", "-", "1.000", "1.00", "+0.0", "0.0"]


def test_people_who_never_look_up_say_nothing_of_pitch(crowd):
    still = dataclasses.replace(crowd, gaze_deg=crowd.gaze_deg * np.array([0, 1], np.float32))
    assert set(answering(still, crowd.gaze_deg).axes) == {"yaw"}
    one_way = np.repeat(np.arange(PEOPLE, dtype=np.float32), 105)
    still.gaze_deg[:, 0] = one_way
    pitch = answering(still, still.gaze_deg).axes["pitch"]
    assert pitch.correlation == pytest.approx(1, abs=1e-5)
    assert pitch.within_person is None


def test_a_correlation_s_interval_is_that_of_people_drawn_again():
    rng = np.random.default_rng(3)
    subject = np.repeat(np.arange(9), rng.integers(5, 30, 9))
    one = rng.normal(100, 1, len(subject))
    other = one + rng.normal(0, 1, 9)[subject] + rng.normal(0, 1, len(subject))
    draws = draw_subjects(subject, draws=400)
    found = correlation(draws, one, other)
    assert found.estimate == pytest.approx(np.corrcoef(one, other)[0, 1])
    again = [
        np.corrcoef(*(np.repeat(v, counts[subject]) for v in (one, other)))[0, 1]
        for counts in draws.counts
    ]
    assert found.low >= min(again) - 1e-9
    assert found.high <= max(again) + 1e-9
    assert np.mean((np.array(again) >= found.low) & (np.array(again) <= found.high)) > 0.94


def test_people_who_all_look_into_the_lens_have_offsets_and_no_correlation(crowd):
    """Right eyes and mirrored left ones: yaw counts to the picture's right."""
    mirrored = np.arange(len(crowd)) % 2 == 1
    looking = dataclasses.replace(crowd, gaze_deg=np.zeros_like(crowd.gaze_deg), mirrored=mirrored)
    own = np.where(looking.subject == "0003", 9.0, 1.0)
    seen = np.stack([np.where(mirrored, 3.0, 1.0), np.where(mirrored, -own, own)], 1)
    found = answering(looking, seen.astype(np.float32))
    assert found.axes == {}
    # Each person's mean pitch is within half a patch of 2.
    assert found.offsets.pitch_deg == pytest.approx(2, abs=0.02)
    assert found.offsets.yaw_deg == pytest.approx((7 * 1 + 9) / PEOPLE, abs=1e-5)
    lengths = (7 * np.hypot(2, 1) + np.hypot(2, 9)) / PEOPLE
    assert found.offsets.length_deg == pytest.approx(lengths, abs=0.02)
    assert "correlation" not in scores_text(found)
    assert f"{found.offsets.length_deg:.2f}" in scores_text(found)
