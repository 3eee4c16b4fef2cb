"""Distances between sets of pictures: Frechet distance and kernel distance.

FD-VGG and KD-VGG are the Fréchet and the kernel distance on features of the
shift-tolerant VGG-16 (a tenth of the spatial mean of its last slice, 512 numbers),
the network of the deciding ST-LPIPS. They are no FID or KID: those names belong to Inception.

With means m and covariances C of the two sets,

    d = |m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2)),

the squared 2-Wasserstein distance of two Gaussians. The last trace is the sum of
the square roots of the eigenvalues of the symmetric matrix R C_b R with
R = C_a^(1/2), which is as stable for a singular covariance (fewer pictures than
features) as for a regular one; no matrix is inverted and nothing becomes complex.

It favours whatever leaves pictures alone: sources and targets are pictures of one
kind, so copying the source scores next to nothing. It says how real a set looks,
not whether each picture is the right one, and it grows as sets shrink: compare
methods on the same pairs only.

The unbiased squared maximum mean discrepancy with the kernel
k(x, y) = (x . y / D + 1)^3:

    d = mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j)
        - 2 mean over i, j of k(a_i, b_j)

Unbiased, so equal sets may score slightly below zero. Published code averages over
random subsets of 1000 to save time; a few thousand pictures fit whole, which has
the same expectation and less noise, so here all of them are taken.

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
    """What a Fréchet distance needs to know of a set; sets are joined by adding these.

    Attributes:
        count: how many vectors; real, as a bootstrap weights them.
        total: [D] float64, their sum.
        outer: [D, D] float64, sum of their outer products.
    """

    count: float
    total: NDArray[np.float64]
    outer: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """[D]."""
        return self.total / self.count

    @property
    def covariance(self) -> NDArray[np.float64]:
        """[D, D], unbiased."""
        centred = self.outer - np.outer(self.total, self.mean)
        return centred / max(self.count - 1, 1)


def sums(features: NDArray[np.floating]) -> FeatureSums:
    """Sums over [N, D] vectors, in float64."""
    exact = features.astype(np.float64)
    return FeatureSums(len(exact), exact.sum(0), exact.T @ exact)


def frechet_distance(a: FeatureSums, b: FeatureSums) -> float:
    """Fréchet distance of two sets, in squared units of the features; see the module."""
    return distance_to(a)(b)


@dataclass(frozen=True)
class FrechetDistance:
    """Fréchet distances to one set, whose matrix root is taken once."""

    mean: NDArray[np.float64]
    trace: float
    root: NDArray[np.float64]

    def __call__(self, other: FeatureSums) -> float:
        """The distance to `other`."""
        covariance = other.covariance
        product = np.linalg.eigvalsh(self.root @ covariance @ self.root)
        shift = np.sum((self.mean - other.mean) ** 2)
        spread = self.trace + np.trace(covariance) - 2 * np.sum(_root(product))
        return max(float(shift + spread), 0.0)


def distance_to(reference: FeatureSums) -> FrechetDistance:
    """Prepares distances to one set."""
    values, vectors = np.linalg.eigh(reference.covariance)
    return FrechetDistance(
        reference.mean,
        float(np.sum(values)),
        (vectors * _root(values)) @ vectors.T,
    )


def _root(eigenvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square roots; rounding makes zeros slightly negative."""
    return np.sqrt(np.maximum(eigenvalues, 0.0))


@dataclass(frozen=True)
class KernelSums:
    """Kernel values of a set, or between two, summed by groups of vectors.

    Attributes:
        between: [G, G] sums over the vectors of one group and those of another.
        itself: [G] sums of k(a_i, b_i): within one set, of vectors with themselves.
    """

    between: NDArray[np.float64]
    itself: NDArray[np.float64]


def kernel_sums(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    *,
    group: NDArray[np.integer] | None = None,
) -> KernelSums:
    """Sums kernel values.

    Args:
        a, b: [N, D] both; the same array for values within one set.
        group: [N] numbers from 0 of what is later weighted together; None is one group.
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
    """Kernel distance of two sets of equally many vectors [N, D]; see the module."""
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
    """Kernel distances when each group counts several times, or not at all.

    A vector is never compared with itself, nor with its own repetitions: they
    would make a resampled set look denser than any real one.

    Args:
        within_a, within_b, across: from `kernel_sums`, with G groups.
        weights: [K, G], how often each group counts.
        sizes: [G], how many vectors each group has.

    Returns:
        [K].
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
"""Each takes the eigenvalues of a matrix per method: some seconds in all, as only about a
hundred of the 512 features ever show on eyes."""

Features = NDArray[np.float32]


@dataclass(frozen=True)
class SetDistances:
    """Of one method's pictures to the real ones."""

    frechet: float
    kernel: float


def set_metrics(made: Mapping[str, Features], real: Features) -> dict[str, SetDistances]:
    """Distances of each method's pictures to the real ones.

    Args:
        made: method -> [P, D] features, one row per pair.
        real: [P, D], of the same pairs.
    """
    to_real = distance_to(sums(real))
    return {
        method: SetDistances(to_real(sums(features)), kernel_distance(features, real))
        for method, features in made.items()
    }


def resampled_frechet(
    draws: SubjectDraws, made: Mapping[str, Features], real: Features
) -> dict[str, Resampled]:
    """Fréchet distances on resampled subjects, from each subject's sums.

    Only the first `FRECHET_DRAWS` draws are made. Features that are zero in every
    picture add nothing to the distance, and are left out before its matrices grow.
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
    """Kernel distances on resampled subjects, from sums over pairs of subjects."""
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
    """Sums over subjects that each count so many times."""
    count, total, outer = 0.0, np.zeros_like(parts[0].total), np.zeros_like(parts[0].outer)
    for times, part in zip(counts, parts, strict=True):
        if times:
            count += times * part.count
            total += times * part.total
            outer += times * part.outer
    return FeatureSums(count, total, outer)
