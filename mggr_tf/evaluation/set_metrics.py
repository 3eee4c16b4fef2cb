"""Distances between a method's pictures and the real ones as two sets, and how sure they are.

FD-VGG and KD-VGG are the Fréchet and the kernel distance on features of the
shift-tolerant VGG-16 (a tenth of the spatial mean of its last slice, 512 numbers),
the network of the deciding ST-LPIPS. They are no FID or KID: those names belong to Inception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_tf.evaluation.bootstrap import Resampled, SubjectDraws
from mggr_tf.evaluation.frechet import Sums, distance_to, sums
from mggr_tf.evaluation.kernel import kernel_distance, kernel_sums, weighted_distance

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


def _sums_by_subject(draws: SubjectDraws, features: Features) -> list[Sums]:
    return [sums(features[draws.subject_of == number]) for number in range(draws.subjects)]


def _joined(parts: list[Sums], counts: NDArray[np.int64]) -> Sums:
    """Sums over subjects that each count so many times."""
    count, total, outer = 0.0, np.zeros_like(parts[0].total), np.zeros_like(parts[0].outer)
    for times, part in zip(counts, parts, strict=True):
        if times:
            count += times * part.count
            total += times * part.total
            outer += times * part.outer
    return Sums(count, total, outer)
