"""Set distances against closed forms, another formula and a double loop."""

import numpy as np
import pytest

from mggr_tf.evaluation.bootstrap import difference, draw_subjects
from mggr_tf.evaluation.set_metrics import (
    FRECHET_DRAWS,
    FeatureSums,
    frechet_distance,
    kernel_distance,
    resampled_frechet,
    resampled_kernel,
    set_metrics,
    sums,
)


def vectors(count, width, *, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, width)) @ rng.normal(size=(width, width))
    return (mixed + shift).astype(np.float32)


def gaussian(mean, covariance, count=1000):
    """Sums of a set that has exactly these moments."""
    mean = np.asarray(mean, float)
    outer = (count - 1) * np.asarray(covariance, float) + count * np.outer(mean, mean)
    return FeatureSums(count, count * mean, outer)


def test_frechet_of_axis_aligned_gaussians_has_a_closed_form():
    a = gaussian([1, 2, 3], np.diag([1.0, 4.0, 9.0]))
    b = gaussian([1, 0, 3], np.diag([4.0, 4.0, 0.0]))
    wanted = 2**2 + (1 - 2) ** 2 + 0 + 3**2
    assert frechet_distance(a, b) == pytest.approx(wanted)
    assert frechet_distance(b, a) == pytest.approx(wanted)


def test_frechet_of_gaussians_that_commute_in_another_basis():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    a = gaussian([0, 0, 0], turn @ np.diag([1.0, 4.0, 9.0]) @ turn.T)
    b = gaussian([0, 0, 0], turn @ np.diag([16.0, 4.0, 1.0]) @ turn.T)
    assert frechet_distance(a, b) == pytest.approx(9 + 0 + 4)


def test_frechet_is_the_formula_with_scipys_matrix_root():
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    a, b = vectors(300, 12, seed=1), vectors(200, 12, seed=2, shift=0.5)
    first, second = np.cov(a.T.astype(float)), np.cov(b.T.astype(float))
    wanted = np.sum((a.mean(0, float) - b.mean(0, float)) ** 2) + np.trace(
        first + second - 2 * sqrtm(first @ second).real
    )
    assert frechet_distance(sums(a), sums(b)) == pytest.approx(wanted, rel=1e-6)


def test_frechet_of_fewer_pictures_than_features_is_that_of_their_subspace():
    a, b = vectors(40, 10, seed=1), vectors(40, 10, seed=2)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))
    wide_a, wide_b = a.astype(float) @ turn[:10], b.astype(float) @ turn[:10]
    wanted = frechet_distance(sums(a), sums(b))
    assert frechet_distance(sums(wide_a), sums(wide_b)) == pytest.approx(wanted, rel=1e-6)


def test_a_set_is_no_frechet_distance_from_itself():
    for count in (5, 400):
        same = sums(vectors(count, 32, seed=3))
        assert frechet_distance(same, same) == pytest.approx(
            0, abs=1e-8 * np.trace(same.covariance)
        )


def brute_kernel_distance(a, b):
    a, b = a.astype(float), b.astype(float)

    def mean(x, y, *, distinct):
        values = [
            (x[i] @ y[j] / x.shape[1] + 1) ** 3
            for i in range(len(x))
            for j in range(len(y))
            if not (distinct and i == j)
        ]
        return np.mean(values)

    return mean(a, a, distinct=True) + mean(b, b, distinct=True) - 2 * mean(a, b, distinct=False)


def test_kernel_distance_is_the_double_loop():
    a, b = vectors(30, 6, seed=1), vectors(30, 6, seed=2, shift=0.3)
    assert kernel_distance(a, b) == pytest.approx(brute_kernel_distance(a, b), rel=1e-9)


def test_kernel_distance_is_unbiased():
    """Of sets of one kind it is zero on average, below as often as above."""
    rng = np.random.default_rng(0)
    found = [kernel_distance(*rng.normal(size=(2, 40, 5))) for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert 0.3 < np.mean(np.array(found) < 0) < 0.8


SUBJECT = np.repeat(np.arange(8), 15)
REAL = vectors(120, 6, seed=4)
NOISE = np.random.default_rng(5).normal(size=REAL.shape).astype(np.float32)
MADE = {"near": REAL + 0.1 * NOISE, "far": REAL + 2.0 * NOISE + 1.0, "real": REAL}


def test_resampling_every_subject_once_gives_the_distance_itself():
    draws = draw_subjects(SUBJECT, draws=3)
    draws.counts[0] = 1
    direct = set_metrics(MADE, REAL)
    frechet, kernel = resampled_frechet(draws, MADE, REAL), resampled_kernel(draws, MADE, REAL)
    for name in MADE:
        wanted = direct[name].frechet
        assert frechet[name].estimate == pytest.approx(wanted, rel=1e-6, abs=1e-9)
        assert frechet[name].values[0] == pytest.approx(wanted, rel=1e-6, abs=1e-6)
        assert kernel[name].estimate == pytest.approx(direct[name].kernel, rel=1e-9)
        assert kernel[name].values[0] == pytest.approx(direct[name].kernel, rel=1e-9)


def test_resampled_distances_are_those_of_the_drawn_pictures():
    draws = draw_subjects(SUBJECT, draws=2, seed=1)
    rows = np.concatenate(
        [
            np.flatnonzero(np.isin(SUBJECT, s))
            for s, n in enumerate(draws.counts[0])
            for _ in range(n)
        ]
    )
    frechet = resampled_frechet(draws, MADE, REAL)["far"].values[0]
    assert frechet == pytest.approx(
        set_metrics({"far": MADE["far"][rows]}, REAL[rows])["far"].frechet
    )
    distinct = rows[:, None] != rows[None, :]

    def mean(a, b, where):
        return ((a[rows].astype(float) @ b[rows].T.astype(float) / 6 + 1) ** 3)[where].mean()

    everything = np.ones_like(distinct)
    wanted = mean(MADE["far"], MADE["far"], distinct) + mean(REAL, REAL, distinct)
    wanted -= 2 * mean(MADE["far"], REAL, everything)
    kernel = resampled_kernel(draws, MADE, REAL)["far"].values[0]
    assert kernel == pytest.approx(wanted, rel=1e-9)


def test_features_that_no_picture_shows_change_nothing():
    draws = draw_subjects(SUBJECT, draws=5)
    silent = np.zeros((120, 4), np.float32)
    wide = {name: np.hstack([features, silent]) for name, features in MADE.items()}
    found = resampled_frechet(draws, wide, np.hstack([REAL, silent]))["far"]
    wanted = resampled_frechet(draws, MADE, REAL)["far"]
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-9)
    assert found.estimate == pytest.approx(wanted.estimate, rel=1e-9)


def test_a_worse_set_is_surely_worse():
    draws = draw_subjects(SUBJECT, draws=FRECHET_DRAWS + 1)
    for resampled in (resampled_frechet(draws, MADE, REAL), resampled_kernel(draws, MADE, REAL)):
        found = difference(resampled["near"], resampled["far"])
        assert found.high < 0
        same = difference(resampled["near"], resampled["near"])
        assert (same.low, same.high) == (0, 0)
    assert len(resampled_frechet(draws, MADE, REAL)["near"].values) == FRECHET_DRAWS
