"""Paired bootstrap over subjects: how sure a difference between two methods is.

People differ more than pairs of one person do, so people are what is drawn: with
replacement, all pairs of a drawn person together, and the same draw for every
method that is compared. The interval is the expanded percentile one [1]: at few
subjects the plain 2.5 % and 97.5 % quantiles are too narrow, so they are moved out
by what Student's t and n / (n - 1) ask for.

References:
    [1] Hesterberg, What Teachers Should Know About the Bootstrap, The American
        Statistician 2015, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.errors import UsageError

LEVEL = 0.95
DRAWS = 10_000
MIN_SUBJECTS = 6
"""No resampled mean lies beyond the furthest person's. With fewer than 6 people, all of them
lie on one side of the truth more often (2^(1 - n)) than the 5 % that an interval may miss."""
_SEED = 20200403


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval.

    Attributes:
        estimate: on the subjects as they are.
        low, high: the interval over resampled subjects.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class SubjectDraws:
    """Resampled subjects.

    Attributes:
        subject_of: [P] int, each pair's subject, numbered from 0.
        counts: [K, S] int, how often each draw holds each subject.
    """

    subject_of: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def subjects(self) -> int:
        """S."""
        return self.counts.shape[1]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[S], how many pairs each subject has."""
        return np.bincount(self.subject_of, minlength=self.subjects)

    def first(self, draws: int) -> SubjectDraws:
        """Only so many of the draws, for what costs time."""
        return SubjectDraws(self.subject_of, self.counts[:draws])


def draw_subjects(subject: ArrayLike, *, draws: int = DRAWS, seed: int = _SEED) -> SubjectDraws:
    """Draws as many subjects as there are, with replacement.

    Args:
        subject: [P] each pair's subject.
        draws: how often.
        seed: of the draws; one for everything that is compared.

    Raises:
        UsageError: fewer than `MIN_SUBJECTS` subjects.
    """
    names, subject_of = np.unique(np.asarray(subject), return_inverse=True)
    count = len(names)
    if count < MIN_SUBJECTS:
        raise UsageError(
            f"a bootstrap over subjects needs at least {MIN_SUBJECTS} of them, got {count}"
        )
    counts = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=draws)
    return SubjectDraws(subject_of.astype(np.int64), counts)


@dataclass(frozen=True)
class Resampled:
    """A number on the subjects as they are, and on each draw.

    Attributes:
        estimate: the number.
        values: [K], by draw; two that are compared come from the same draws.
        subjects: how many are drawn each time.
    """

    estimate: float
    values: NDArray[np.float64]
    subjects: int


def resampled_mean(draws: SubjectDraws, values: NDArray[np.floating]) -> Resampled:
    """The mean over pairs of `values`, [P]; sums per subject make each draw cheap."""
    totals = np.bincount(draws.subject_of, weights=values, minlength=draws.subjects)
    means = (draws.counts @ totals) / (draws.counts @ draws.sizes)
    return Resampled(float(np.mean(values, dtype=np.float64)), means, draws.subjects)


def correlation(
    draws: SubjectDraws, one: NDArray[np.floating], other: NDArray[np.floating]
) -> Interval:
    """Pearson's correlation of two numbers of every pair, [P] each, and its interval."""
    one, other = (v.astype(np.float64) - np.mean(v, dtype=np.float64) for v in (one, other))

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        per_subject = np.bincount(draws.subject_of, weights=values, minlength=draws.subjects)
        return np.concatenate([[per_subject.sum()], draws.counts @ per_subject])

    size = np.concatenate([[len(one)], draws.counts @ draws.sizes])
    mean_one, mean_other = sums(one) / size, sums(other) / size
    spread = (sums(one**2) / size - mean_one**2) * (sums(other**2) / size - mean_other**2)
    values = (sums(one * other) / size - mean_one * mean_other) / np.sqrt(spread)
    return _interval(Resampled(float(values[0]), values[1:], draws.subjects))


def difference(ours: Resampled, theirs: Resampled) -> Interval:
    """Interval of `ours - theirs`."""
    estimate, values = ours.estimate - theirs.estimate, ours.values - theirs.values
    return _interval(Resampled(estimate, values, ours.subjects))


def ratio(ours: Resampled, theirs: Resampled) -> Interval:
    """Interval of `ours / theirs`.

    Of two means it is the ratio of means, not the mean of ratios, which pairs with
    hardly any error would rule.
    """
    estimate, values = ours.estimate / theirs.estimate, ours.values / theirs.values
    return _interval(Resampled(estimate, values, ours.subjects))


def is_ahead(difference: Interval, *, lower_is_better: bool) -> bool:
    """Whether the 95 % interval of `ours - theirs` excludes zero on the better side."""
    return difference.high < 0 if lower_is_better else difference.low > 0


def _interval(resampled: Resampled) -> Interval:
    tail = _tail(resampled.subjects)
    low, high = np.quantile(resampled.values, [tail, 1 - tail])
    return Interval(resampled.estimate, float(low), float(high))


def _tail(subjects: int) -> float:
    """Share of draws to leave out on either side [1]."""
    from scipy.stats import t  # type: ignore[import-untyped]

    reach = np.sqrt(subjects / (subjects - 1)) * t.ppf((1 + LEVEL) / 2, subjects - 1)
    return NormalDist().cdf(-float(reach))
