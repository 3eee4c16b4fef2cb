"""Least squares with fixed effects: slopes within groups of samples, errors clustered by person.

Each group's means are taken off both sides, so what differs from group to group does not count.
Standard errors allow the residuals of one person to go together in any way (Liang and Zeger [1],
with N / (N - 1) for N people).

References:
    [1] Longitudinal data analysis using generalized linear models, Biometrika 73, 1986.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Measured(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


def slopes_within(
    values: NDArray[np.float64],
    causes: NDArray[np.float64],
    *,
    group: NDArray,
    person: NDArray,
) -> tuple[Measured, ...]:
    """Regresses values on all causes together, within groups.

    Args:
        values: [N].
        causes: [N, K].
        group: [N] which samples share their offset.
        person: [N] which samples' residuals may go together.

    Returns:
        K slopes, values per cause.

    Raises:
        ValueError: within groups the causes do not vary independently of each other.
    """
    x, y = _centred(causes, group), _centred(values[:, None], group)[:, 0]
    if len(x) == 0 or np.linalg.matrix_rank(x, tol=1e-3) < x.shape[1]:
        raise ValueError("causes do not vary independently of each other within groups")
    inverse = np.linalg.inv(x.T @ x)
    slopes = inverse @ x.T @ y
    spread = inverse @ _spread_of_sums(x * (y - x @ slopes)[:, None], person) @ inverse
    errors = np.sqrt(np.diag(spread))
    return tuple(Measured(float(s), float(e)) for s, e in zip(slopes, errors, strict=True))


def mean_of(values: NDArray[np.float64], *, person: NDArray) -> Measured:
    """Mean of values [N], of N samples of some people."""
    mean = float(values.mean())
    spread = _spread_of_sums((values - mean)[:, None], person)[0, 0]
    return Measured(mean, float(np.sqrt(spread) / len(values)))


def _centred(values: NDArray[np.float64], group: NDArray) -> NDArray[np.float64]:
    """[N, K] less the means of each group."""
    _, number = np.unique(group, return_inverse=True)
    counts = np.bincount(number)
    return np.stack(
        [column - (np.bincount(number, column) / counts)[number] for column in values.T], axis=1
    )


def _spread_of_sums(values: NDArray[np.float64], person: NDArray) -> NDArray[np.float64]:
    """[K, K] sum of the outer products of each person's sum of values [N, K]."""
    _, number = np.unique(person, return_inverse=True)
    sums = np.stack([np.bincount(number, column) for column in values.T], axis=1)
    return sums.T @ sums * len(sums) / max(len(sums) - 1, 1)
