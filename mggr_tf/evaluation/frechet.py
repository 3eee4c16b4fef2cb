"""Fréchet distance between two sets of feature vectors [1].

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

References:
    [1] Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sums:
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


def sums(features: NDArray[np.floating]) -> Sums:
    """Sums over [N, D] vectors, in float64."""
    exact = features.astype(np.float64)
    return Sums(len(exact), exact.sum(0), exact.T @ exact)


def frechet_distance(a: Sums, b: Sums) -> float:
    """Fréchet distance of two sets, in squared units of the features; see the module."""
    return distance_to(a)(b)


@dataclass(frozen=True)
class FrechetDistance:
    """Fréchet distances to one set, whose matrix root is taken once."""

    mean: NDArray[np.float64]
    trace: float
    root: NDArray[np.float64]

    def __call__(self, other: Sums) -> float:
        """The distance to `other`."""
        covariance = other.covariance
        product = np.linalg.eigvalsh(self.root @ covariance @ self.root)
        shift = np.sum((self.mean - other.mean) ** 2)
        spread = self.trace + np.trace(covariance) - 2 * np.sum(_root(product))
        return max(float(shift + spread), 0.0)


def distance_to(reference: Sums) -> FrechetDistance:
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
