"""Compute distances between sets of pictures: Fréchet distance and kernel distance.

FD-VGG is the Fréchet distance and KD-VGG is the kernel distance of features of the shift-tolerant
VGG-16. ST-LPIPS uses the same network. The 512 features are the spatial means of the last slice,
divided by 10. These distances are not called FID and KID, because FID and KID use Inception.

The Fréchet distance [1] of two sets with means m and covariances C is

    d = |m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2)),

which is the squared 2-Wasserstein distance of two Gaussians. The last trace is the sum of the
square roots of the eigenvalues of R C_b R, with R = C_a^(1/2). The matrix R C_b R is symmetric, so
there are no complex intermediate results. No matrix is inverted. If there are fewer pictures than
features, the covariance is singular. The computation is stable in this case, too.

The Fréchet distance is small for methods that change the source only a little. Sources and targets
come from the same distribution of real pictures. Therefore a method that copies the source has a
distance of almost zero. The distance measures how real a set of pictures looks. The distance does
not measure whether each picture is correct. The distance is also larger for smaller sets. Therefore
compare methods only on the same pairs.

The kernel distance [2] is the unbiased squared maximum mean discrepancy. For D features, its kernel
is k(x, y) = (x . y / D + 1)^3:

    d = mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j)
        - 2 mean over i, j of k(a_i, b_j)

The estimate is unbiased. Therefore two sets from the same distribution may have a distance slightly
below zero. Published code averages over random subsets of 1000 pictures to save time. This module
uses all pictures at once, because there are only a few thousand. The expected value is the same,
and there is less noise.

References:
    [1] Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017.
    [2] Binkowski et al., Demystifying MMD GANs, ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_tf.evaluation.bootstrap import Resampled, SubjectDraws


@dataclass(frozen=True)
class FeatureSums:
    """Sums over a set of vectors.

    A Fréchet distance is computed from these sums.

    To combine two sets, add the sums of both sets.

    Attributes:
        count: number of vectors. This number is a float, because resampling gives weights to the
            vectors.
        total: [D] float64 sum of the vectors.
        outer: [D, D] float64 sum of the outer products of each vector with itself.
    """

    count: float
    total: NDArray[np.float64]
    outer: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """[D] mean of the vectors."""
        return self.total / self.count

    @property
    def covariance(self) -> NDArray[np.float64]:
        """[D, D] unbiased covariance of the vectors."""
        centred = self.outer - np.outer(self.total, self.mean)
        return centred / max(self.count - 1, 1)


def sums(features: NDArray[np.floating]) -> FeatureSums:
    """Return the sums over vectors [N, D].

    The sums are computed in float64.
    """
    exact = features.astype(np.float64)
    return FeatureSums(len(exact), exact.sum(0), exact.T @ exact)


def frechet_distance(a: FeatureSums, b: FeatureSums) -> float:
    """Return the Fréchet distance of two sets.

    The unit is the squared unit of the features.

    See the module's docstring for the definition.
    """
    return distance_to(a)(b)


@dataclass(frozen=True)
class FrechetDistance:
    """Function that computes Fréchet distances to one reference set.

    The matrix square root for the reference set is computed only once.

    Attributes:
        mean: [D] mean of the reference set.
        trace: trace of the covariance of the reference set.
        root: [D, D] square root of the covariance of the reference set.
    """

    mean: NDArray[np.float64]
    trace: float
    root: NDArray[np.float64]

    def __call__(self, other: FeatureSums) -> float:
        """Return the distance of another set to the reference set."""
        covariance = other.covariance
        product = np.linalg.eigvalsh(self.root @ covariance @ self.root)
        shift = np.sum((self.mean - other.mean) ** 2)
        spread = self.trace + np.trace(covariance) - 2 * np.sum(_root(product))
        return max(float(shift + spread), 0.0)


def distance_to(reference: FeatureSums) -> FrechetDistance:
    """Return a function that computes Fréchet distances to one reference set."""
    values, vectors = np.linalg.eigh(reference.covariance)
    return FrechetDistance(
        reference.mean,
        float(np.sum(values)),
        (vectors * _root(values)) @ vectors.T,
    )


def _root(eigenvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return square roots. Negative values are rounding errors and count as 0."""
    return np.sqrt(np.maximum(eigenvalues, 0.0))


@dataclass(frozen=True)
class KernelSums:
    """Sums of kernel values within one set or between two sets.

    The vectors are divided into G groups, and there is one sum for each group or pair of groups.

    Attributes:
        between: [G, G] sums of k(a_i, b_j). Element (g, h) is the sum over all i of group g and all
            j of group h.
        itself: [G] sums of k(a_i, b_i) over all i of a group. Within one set, k(a_i, b_i) is the
            kernel value of a vector with itself.
    """

    between: NDArray[np.float64]
    itself: NDArray[np.float64]


def kernel_sums(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    *,
    group: NDArray[np.integer] | None = None,
) -> KernelSums:
    """Return the sums of kernel values for all groups of vectors.

    Args:
        a: [N, D] vectors of the first set.
        b: [N, D] vectors of the second set. Pass `a` again to get the values within one set.
        group: [N] index of the group of each vector, from 0. `weighted_distance` gives the same
            weight to all vectors of a group. `None` means that all vectors are in one group.
    """
    if group is None:
        group = np.zeros(len(a), np.int64)
    members = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
    a, b = a.astype(np.float64), b.astype(np.float64)
    between = [
        [np.sum(_kernel(a[rows] @ b[columns].T, a)) for columns in members] for rows in members
    ]
    itself = np.bincount(group, weights=_kernel(np.sum(a * b, axis=1), a))
    return KernelSums(np.array(between), itself.astype(np.float64))


def kernel_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the kernel distance of two sets of vectors [N, D].

    Both sets must have the same number of vectors.

    See the module's docstring for the definition.
    """
    distances = weighted_distance(
        kernel_sums(a, a),
        kernel_sums(b, b),
        kernel_sums(a, b),
        weights=np.ones((1, 1)),
        sizes=np.array([len(a)]),
    )
    return float(distances[0])


def weighted_distance(
    within_a: KernelSums,
    within_b: KernelSums,
    across: KernelSums,
    *,
    weights: NDArray[np.number],
    sizes: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Return kernel distances of resampled sets.

    A resampled set contains each group once, several times, or not at all.

    A vector is never compared with itself or with a repetition of itself. Such comparisons would
    make a resampled set look denser than a real set.

    Args:
        within_a: sums of `kernel_sums` within the first set, with G groups.
        within_b: sums within the second set.
        across: sums between the two sets.
        weights: [K, G] how often each draw contains each group.
        sizes: [G] number of vectors in each group.

    Returns:
        [K] distance of each draw.
    """
    w = weights.astype(np.float64)
    everyone = (w @ sizes) ** 2
    others = everyone - w**2 @ sizes

    def within(sums: KernelSums) -> NDArray[np.float64]:
        return (_quadratic(w, sums.between) - w**2 @ sums.itself) / others

    return within(within_a) + within(within_b) - 2 * _quadratic(w, across.between) / everyone


def _quadratic(w: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("kg,gh,kh->k", w, matrix, w, optimize=True)


def _kernel(products: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return (products / vectors.shape[1] + 1.0) ** 3


FRECHET_DRAWS = 1000
"""Number of draws for Fréchet distances.

For each draw, the eigenvalues of one matrix per method are computed. All draws together take only
some seconds, because only about a hundred of the 512 features differ from zero on eyes.
"""

Features = NDArray[np.float32]


@dataclass(frozen=True)
class SetDistances:
    """Distances of the pictures of one method to the real pictures.

    Attributes:
        frechet: Fréchet distance.
        kernel: kernel distance.
    """

    frechet: float
    kernel: float


def set_metrics(made: Mapping[str, Features], real: Features) -> dict[str, SetDistances]:
    """Return the distances of the pictures of each method to the real pictures.

    Args:
        made: method -> [P, D] features of the method's pictures, one row per pair.
        real: [P, D] features of the real pictures of the same pairs.
    """
    to_real = distance_to(sums(real))
    return {
        method: SetDistances(to_real(sums(features)), kernel_distance(features, real))
        for method, features in made.items()
    }


def resampled_frechet(
    draws: SubjectDraws, made: Mapping[str, Features], real: Features
) -> dict[str, Resampled]:
    """Return Fréchet distances on resampled subjects.

    The distances are computed from the sums of each subject.

    Only the first `FRECHET_DRAWS` draws are computed. Features that are zero in every picture are
    removed. These features do not affect the distance, and smaller matrices save time.

    Args:
        draws: random choices of subjects.
        made: method -> [P, D] features of the method's pictures.
        real: [P, D] features of the real pictures of the same pairs.
    """
    draws = draws.first(FRECHET_DRAWS)
    live = np.any([np.any(features, axis=0) for features in (*made.values(), real)], axis=0)
    made, real = {name: features[:, live] for name, features in made.items()}, real[:, live]
    by_subject = {name: _sums_by_subject(draws, features) for name, features in made.items()}
    real_by_subject = _sums_by_subject(draws, real)
    values: dict[str, list[float]] = {name: [] for name in made}
    for counts in draws.counts:
        to_real = distance_to(_joined(real_by_subject, counts))
        for name, parts in by_subject.items():
            values[name].append(to_real(_joined(parts, counts)))
    to_real = distance_to(sums(real))
    return {
        name: Resampled(to_real(sums(features)), np.array(values[name]), draws.subjects)
        for name, features in made.items()
    }


def resampled_kernel(
    draws: SubjectDraws, made: Mapping[str, Features], real: Features
) -> dict[str, Resampled]:
    """Return kernel distances on resampled subjects.

    The distances are computed from sums over pairs of subjects.

    Args:
        draws: random choices of subjects.
        made: method -> [P, D] features of the method's pictures.
        real: [P, D] features of the real pictures of the same pairs.
    """
    group = draws.subject_of
    once = np.ones((1, draws.subjects))
    weights = np.concatenate([once, draws.counts])
    within_real = kernel_sums(real, real, group=group)
    resampled = {}
    for name, features in made.items():
        estimate, *values = weighted_distance(
            kernel_sums(features, features, group=group),
            within_real,
            kernel_sums(features, real, group=group),
            weights=weights,
            sizes=draws.sizes,
        )
        resampled[name] = Resampled(float(estimate), np.array(values), draws.subjects)
    return resampled


def _sums_by_subject(draws: SubjectDraws, features: Features) -> list[FeatureSums]:
    return [sums(features[draws.subject_of == number]) for number in range(draws.subjects)]


def _joined(parts: list[FeatureSums], counts: NDArray[np.int64]) -> FeatureSums:
    """Return the sums over all subjects.

    The sums of each subject are multiplied by the count of the subject, from `counts` [S].
    """
    count, total, outer = 0.0, np.zeros_like(parts[0].total), np.zeros_like(parts[0].outer)
    for times, part in zip(counts, parts, strict=True):
        if times:
            count += times * part.count
            total += times * part.total
            outer += times * part.outer
    return FeatureSums(count, total, outer)
