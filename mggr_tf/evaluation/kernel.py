"""Kernel distance between two sets of feature vectors (KID [1]).

The unbiased squared maximum mean discrepancy with the kernel
k(x, y) = (x . y / D + 1)^3:

    d = mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j)
        - 2 mean over i, j of k(a_i, b_j)

Unbiased, so equal sets may score slightly below zero. Published code averages over
random subsets of 1000 to save time; a few thousand pictures fit whole, which has
the same expectation and less noise, so here all of them are taken.

References:
    [1] Binkowski et al., Demystifying MMD GANs, ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
