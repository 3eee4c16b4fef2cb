"""Compute confidence intervals of differences between methods with a paired bootstrap.

Scores differ more between subjects than between pairs of one subject. Therefore subjects are
resampled, not pairs. A draw is a random choice of subjects with replacement. A chosen subject
contributes all of its pairs. All compared methods use the same draws.

Intervals are expanded percentile intervals [1]. A plain percentile interval has the 2.5 % and 97.5
% quantiles as its bounds. With few subjects, this interval is too narrow. Therefore more extreme
quantiles are used. For n subjects, these quantiles follow from Student's t distribution and from
the factor n / (n - 1) of the variance.

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
"""Minimum number of subjects. A resampled mean is never more extreme than the most extreme subject.
If the values of all n subjects are on the same side of the true value, the interval does not
contain the true value. The probability of this case is 2^(1 - n). With fewer than 6 subjects, this
probability is more than the permitted 5 %."""
_SEED = 20200403


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % confidence interval.

    Attributes:
        estimate: value on the original subjects.
        low: lower bound of the interval.
        high: upper bound of the interval.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class SubjectDraws:
    """K random choices of subjects, out of S subjects.

    Attributes:
        subject_of: [P] int, index of the subject of each pair, from 0.
        counts: [K, S] int, how often each draw contains each subject.
    """

    subject_of: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def subjects(self) -> int:
        """Number of subjects, S."""
        return self.counts.shape[1]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[S] number of pairs of each subject."""
        return np.bincount(self.subject_of, minlength=self.subjects)

    def first(self, draws: int) -> SubjectDraws:
        """Return only the first draws, for statistics that are slow to compute."""
        return SubjectDraws(self.subject_of, self.counts[:draws])


def draw_subjects(subject: ArrayLike, *, draws: int = DRAWS, seed: int = _SEED) -> SubjectDraws:
    """Choose subjects at random with replacement.

    Each draw has as many subjects as the original data.

    Args:
        subject: [P] subject of each pair.
        draws: number of draws (random choices of subjects), K.
        seed: seed of the draws. All methods that are compared must use the same seed.

    Raises:
        UsageError: there are fewer than `MIN_SUBJECTS` subjects.
    """
    names, subject_of = np.unique(np.asarray(subject), return_inverse=True)
    count = len(names)
    if count < MIN_SUBJECTS:
        raise UsageError(
            f"a bootstrap over subjects needs at least {MIN_SUBJECTS} subjects, got {count}",
            code="too-few-subjects",
            found=count,
            expected=MIN_SUBJECTS,
        )
    counts = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=draws)
    return SubjectDraws(subject_of.astype(np.int64), counts)


@dataclass(frozen=True)
class Resampled:
    """A value on the original subjects and on every draw.

    Attributes:
        estimate: value on the original subjects.
        values: [K] value on each draw. Values can only be compared if they come from the same
            draws.
        subjects: number of subjects per draw.
    """

    estimate: float
    values: NDArray[np.float64]
    subjects: int


def resampled_mean(draws: SubjectDraws, values: NDArray[np.floating]) -> Resampled:
    """Return the mean of `values` [P] over pairs.

    To save time, the means of the draws are computed from one sum per subject.
    """
    totals = np.bincount(draws.subject_of, weights=values, minlength=draws.subjects)
    means = (draws.counts @ totals) / (draws.counts @ draws.sizes)
    return Resampled(float(np.mean(values, dtype=np.float64)), means, draws.subjects)


def correlation(
    draws: SubjectDraws, one: NDArray[np.floating], other: NDArray[np.floating]
) -> Interval:
    """Return Pearson's correlation of two quantities, with the interval of the correlation.

    Both arrays have the shape [P], with one value per pair.
    """
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
    """Return `ours - theirs` with its interval."""
    estimate, values = ours.estimate - theirs.estimate, ours.values - theirs.values
    return _interval(Resampled(estimate, values, ours.subjects))


def ratio(ours: Resampled, theirs: Resampled) -> Interval:
    """Return `ours / theirs` with its interval.

    If both values are means, the result is the ratio of the means. The mean of the ratios is not
    used, because it would mainly depend on pairs with errors close to zero.
    """
    estimate, values = ours.estimate / theirs.estimate, ours.values / theirs.values
    return _interval(Resampled(estimate, values, ours.subjects))


def is_ahead(difference: Interval, *, lower_is_better: bool) -> bool:
    """Return whether the interval of `ours - theirs` is completely on the better side of 0."""
    return difference.high < 0 if lower_is_better else difference.low > 0


def _interval(resampled: Resampled) -> Interval:
    tail = _tail(resampled.subjects)
    low, high = np.quantile(resampled.values, [tail, 1 - tail])
    return Interval(resampled.estimate, float(low), float(high))


def _tail(subjects: int) -> float:
    """Return the share of the draws that are below the interval [1].

    The same share of the draws is above the interval.
    """
    from scipy.stats import t  # type: ignore[import-untyped]

    reach = np.sqrt(subjects / (subjects - 1)) * t.ppf((1 + LEVEL) / 2, subjects - 1)
    return NormalDist().cdf(-float(reach))
