"""Scores of the predicted eye state, and the limits that follow from them.

Only drawn eyes have such labels. They show people whom no training draws, from open to closed,
most of them behind occluders.

An eye that has to be left alone (closed, iris hidden, covered) must not be redirected; an eye of a
data set of gaze (open, nothing before it) should be redirected in full. Both kinds are known: the
first from drawn eyes, the second from drawn eyes and from photographs. The limits of a measure are
the values that all but a small share of either kind lie beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.models.contract import Conventions
from mggr_tf.data.closing_eyes import unseen_closing_eyes
from mggr_tf.data.schema import STATES, EyeSamples
from mggr_tf.evaluation.source_gaze import ask_in_batches

_OPENNESS, _IRIS, _OCCLUSION = (STATES.index(name) for name in STATES)

LEFT_ALONE_BEYOND, REDIRECTED_BEYOND = 0.99, 0.98
"""Shares of the eyes of either kind that lie beyond its limit."""

_CLOSED_BELOW, _HIDDEN_BELOW, _COVERED_FROM = 0.08, 0.15, 0.5
"""True openness, visible iris and occlusion of eyes that have to be left alone."""
_OPEN_FROM, _SHOWN_FROM, _FREE_BELOW = 0.15, 0.5, 0.05
"""The same of eyes that should be redirected."""
_LEAST_APART = 0.02


@dataclass(frozen=True)
class MeasureLimits:
    """Limits of one measure.

    Attributes:
        none: of the value with which an eye is left alone.
        full: of the value with which it is redirected in full.
        left_alone, redirected: share of the eyes of either kind beyond its limit.
    """

    none: float
    full: float
    left_alone: float
    redirected: float


StateLimits = dict[str, MeasureLimits]
"""By the names of `STATES`."""


def derive_limits(
    seen: NDArray[np.float32], right: NDArray[np.float32], open_eyes: NDArray[np.float32]
) -> StateLimits | None:
    """Limits for the answers of one estimator.

    Args:
        seen: [N, 3] its answers for drawn eyes.
        right: [N, 3] their true states.
        open_eyes: [M, 3] its answers for photographed eyes that are open and not covered.

    Returns:
        limits by measure; None where one of the kinds is missing.
    """
    openness, iris, occlusion = right.T
    free = occlusion < _FREE_BELOW
    good = free & (openness >= _OPEN_FROM) & (iris >= _SHOWN_FROM)
    left_alone = {
        _OPENNESS: free & (openness < _CLOSED_BELOW),
        _IRIS: free & (iris < _HIDDEN_BELOW),
        _OCCLUSION: occlusion >= _COVERED_FROM,
    }
    redirected = np.concatenate([seen[good], open_eyes])
    if not len(redirected) or not all(rows.any() for rows in left_alone.values()):
        return None
    found = {}
    for place, name in enumerate(STATES):
        # Occlusion counts the other way: its high values are left alone.
        sign = -1 if place == _OCCLUSION else 1
        low, high = sign * seen[left_alone[place], place], sign * redirected[:, place]
        none = float(np.quantile(low, LEFT_ALONE_BEYOND))
        full = float(np.quantile(high, 1 - REDIRECTED_BEYOND))
        # Kinds that overlap: in the middle of the overlap, as steep as limits may be.
        if full - none < _LEAST_APART:
            middle = (none + full) / 2
            none, full = middle - _LEAST_APART / 2, middle + _LEAST_APART / 2
        found[name] = MeasureLimits(
            none=sign * none,
            full=sign * full,
            left_alone=float((low <= none).mean()),
            redirected=float((high >= full).mean()),
        )
    return found


def limits_text(limits: StateLimits) -> str:
    """A table for people."""
    lines = [
        f"{'limits that follow':<20}{'none':>8}{'full':>8}{'left alone':>14}{'redirected':>14}"
    ]
    lines += [
        f"{name:<20}{of.none:>8.3f}{of.full:>8.3f}{of.left_alone:>14.1%}{of.redirected:>14.1%}"
        for name, of in limits.items()
    ]
    return "\n".join(lines)


Outputs = Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]
"""An estimator: its inputs by name to its outputs by name."""

CLOSED_BELOW, OPEN_FROM = 0.08, 0.15
"""Openness of eyes that count as closed and as open; those between are left out."""
OCCLUDED_FROM, FREE_BELOW = 0.4, 0.05
"""The same for occlusion."""

_PEOPLE = 40
OCCLUDED_SHARE = 0.4
"""Share of the two occluders that lie over an eye."""
_SEED = 20260401


@dataclass(frozen=True)
class Separation:
    """How well one predicted value tells two kinds of eyes apart.

    Attributes:
        eyes: numbers of eyes of the kind with the lower values and of the other one.
        area: under the ROC curve, 0.5 by chance and 1 at best.
        threshold: of the predicted value at which the mean of both rates below is greatest.
        low_found: part of the first kind below it.
        high_found: part of the second kind at or above it.
    """

    eyes: tuple[int, int]
    area: float
    threshold: float
    low_found: float
    high_found: float


@dataclass(frozen=True)
class StateScores:
    """What an estimator says of the state of drawn eyes.

    Attributes:
        patches: how many.
        people: whose.
        errors: mean absolute error of each value, by the names of `STATES`, over all eyes.
        free_errors: the same of eyes of which less than `FREE_BELOW` is covered.
        closed: closed eyes against open ones of those free eyes, by openness.
        occluded: free eyes against occluded ones, by occlusion.
        limits: of the device that follow from these answers and those for photographed eyes; None
            without the latter.
    """

    patches: int
    people: int
    errors: dict[str, float]
    free_errors: dict[str, float]
    closed: Separation | None
    occluded: Separation | None
    limits: StateLimits | None = None


def state_eyes(seed: int, *, people: int = _PEOPLE, progress: Progress = no_progress) -> EyeSamples:
    """Eyes to score the state on: of people whom no training by this seed draws.

    Args:
        seed: a run's `synthetic.seed`.
        people: how many.
        progress: counts pictures.
    """
    from mggr_tf.data.closing_eyes import behind_occluders  # needs TensorFlow

    eyes = unseen_closing_eyes(seed, people, progress=progress)
    return behind_occluders(eyes, share=OCCLUDED_SHARE, seed=_SEED)


def score_state(
    outputs: Outputs,
    samples: EyeSamples,
    *,
    open_eyes: EyeSamples | None = None,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> StateScores:
    """Asks an estimator about the state of every eye.

    Args:
        outputs: an estimator with an output `state`.
        samples: with states, all of them known; as of `state_eyes`.
        open_eyes: photographed eyes that are open and not covered, as data sets of gaze have them;
            for the limits. None derives none.
        progress: shown the patches that are done.
    """
    right, _ = samples.known_state()
    seen = estimate_states(outputs, samples, conventions=conventions, progress=progress)
    limits = None
    if open_eyes is not None:
        answers = estimate_states(outputs, open_eyes, conventions=conventions, progress=progress)
        limits = derive_limits(seen, right, answers)
    openness, occlusion = right[:, 0], right[:, 2]
    free = occlusion < FREE_BELOW
    return StateScores(
        patches=len(samples),
        people=len(samples.subjects),
        errors=_errors(seen, right),
        free_errors=_errors(seen[free], right[free]),
        closed=separation(
            seen[free & (openness < CLOSED_BELOW), 0], seen[free & (openness >= OPEN_FROM), 0]
        ),
        occluded=separation(seen[free, 2], seen[occlusion >= OCCLUDED_FROM, 2]),
        limits=limits,
    )


def estimate_states(
    outputs: Outputs,
    samples: EyeSamples,
    *,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """[N, 3] the estimator's answer for every patch."""
    return ask_in_batches(
        lambda inputs: np.asarray(outputs(inputs)["state"]),
        samples,
        conventions=conventions,
        progress=progress,
    )


def separation(low: NDArray[np.float32], high: NDArray[np.float32]) -> Separation | None:
    """How well a predicted value tells two kinds of eyes apart; None without one of them.

    Args:
        low, high: [N] and [M] predicted values of eyes that shall have low and high ones.
    """
    if not len(low) or not len(high):
        return None
    values = np.unique(np.concatenate([low, high]))
    # Between two neighbours, so that a value is never its own threshold.
    thresholds = np.concatenate([[values[0]], (values[:-1] + values[1:]) / 2])
    below_low = np.searchsorted(np.sort(low), thresholds) / len(low)
    from_high = 1 - np.searchsorted(np.sort(high), thresholds) / len(high)
    best = int(np.argmax(below_low + from_high))
    less = np.searchsorted(np.sort(low), high, side="left")
    equal = np.searchsorted(np.sort(low), high, side="right") - less
    return Separation(
        eyes=(len(low), len(high)),
        area=float((less + equal / 2).mean() / len(low)),
        threshold=float(thresholds[best]),
        low_found=float(below_low[best]),
        high_found=float(from_high[best]),
    )


def state_text(scores: StateScores) -> str:
    """Some lines for people."""
    lines = [
        f"state of {scores.patches} drawn eyes of {scores.people} other people; "
        "mean absolute errors:",
        f"{'':<16}{'all':>8}{'nothing before the eye':>26}",
        *(
            f"{name:<16}{scores.errors[name]:>8.3f}{scores.free_errors[name]:>26.3f}"
            for name in STATES
        ),
    ]
    for what, found in (
        (f"closed (openness below {CLOSED_BELOW:g}) against open eyes", scores.closed),
        (f"free against covered eyes (occlusion from {OCCLUDED_FROM:g})", scores.occluded),
    ):
        if found is not None:
            lines.append(
                f"{what}: area under the ROC curve {found.area:.4f}; at {found.threshold:.3f} "
                f"{found.low_found:.1%} and {found.high_found:.1%} are recognised"
            )
    if scores.limits is not None:
        lines.append(limits_text(scores.limits))
    return "\n".join(lines)


def _errors(seen: NDArray[np.float32], right: NDArray[np.float32]) -> dict[str, float]:
    off = np.abs(seen - right).mean(axis=0) if len(seen) else np.full(len(STATES), np.nan)
    return {name: float(off[place]) for place, name in enumerate(STATES)}
