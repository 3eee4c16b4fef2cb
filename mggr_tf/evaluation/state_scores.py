"""Score the predicted eye state, and derive limits for the device from the predictions.

The state of an eye has three values: openness, visible share of the iris, and occlusion. Only
synthetic eyes have labels of the state. The scored eyes belong to people who are not in the
training data. These eyes are open, closing or closed. Most of these eyes are partly covered by
objects, called occluders.

The device has two limits for each value. The device does not redirect an eye whose value is beyond
the limit `none`. If the value of an eye is beyond the limit `full`, the device redirects the eye at
full strength. Beyond `none` means more closed, more hidden or more occluded. Beyond `full` means
the opposite.

The limits are derived from two kinds of eyes. Eyes of the first kind must not be redirected: closed
eyes, eyes with a hidden iris, and covered eyes. All eyes of the first kind are synthetic. Eyes of
the second kind should be redirected at full strength: open eyes that are not covered. Some of these
eyes are synthetic. The others are photographs from gaze data sets. `none` is chosen so that nearly
all eyes of the first kind are beyond this limit. `full` is chosen so that nearly all eyes of the
second kind are beyond this limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.models.conventions import Conventions
from mggr_tf.data.closing_eyes import unseen_closing_eyes
from mggr_tf.data.schema import STATES, EyeSamples
from mggr_tf.evaluation.source_gaze import ask_in_batches

_OPENNESS, _IRIS, _OCCLUSION = (STATES.index(name) for name in STATES)

LEFT_ALONE_BEYOND, REDIRECTED_BEYOND = 0.99, 0.98
"""Two shares that determine the limits. The first is the share of the eyes of the first kind that
are beyond `none`. The second is the share of the eyes of the second kind that are beyond `full`."""

_CLOSED_BELOW, _HIDDEN_BELOW, _COVERED_FROM = 0.08, 0.15, 0.5
"""Bounds of eyes that must not be redirected. There are three cases. The true openness is below the
first bound. The true visible share of the iris is below the second bound. The true occlusion is at
least the third bound."""
_OPEN_FROM, _SHOWN_FROM, _FREE_BELOW = 0.15, 0.5, 0.05
"""Bounds of eyes that should be redirected. Three conditions must be met. The true openness is at
least the first bound. The true visible share of the iris is at least the second bound. The true
occlusion is below the third bound."""
_LEAST_APART = 0.02


@dataclass(frozen=True)
class MeasureLimits:
    """Limits of one value of the state, and the shares of eyes beyond these limits.

    Attributes:
        none: an eye whose value is beyond this limit is not redirected.
        full: an eye whose value is beyond this limit is redirected at full strength.
        left_alone: among the eyes that must not be redirected, the share whose value is beyond
            `none`, in [0, 1].
        redirected: among the eyes that should be redirected, the share whose value is beyond
            `full`, in [0, 1].
    """

    none: float
    full: float
    left_alone: float
    redirected: float


StateLimits = dict[str, MeasureLimits]
"""Name of a value in `STATES` -> its limits."""


def derive_limits(
    seen: NDArray[np.float32], right: NDArray[np.float32], open_eyes: NDArray[np.float32]
) -> StateLimits | None:
    """Derive the limits from the predictions of one estimator.

    Args:
        seen: [N, 3] predicted states of synthetic eyes.
        right: [N, 3] their true states.
        open_eyes: [M, 3] predicted states of photographed eyes that are open and not covered.

    Returns:
        the limits of each value in `STATES`. `None` if one of the two kinds has no eyes.
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
        # A high occlusion means that an eye must not be redirected. A low openness or a low visible
        # share of the iris means that an eye must not be redirected.
        sign = -1 if place == _OCCLUSION else 1
        low, high = sign * seen[left_alone[place], place], sign * redirected[:, place]
        none = float(np.quantile(low, LEFT_ALONE_BEYOND))
        full = float(np.quantile(high, 1 - REDIRECTED_BEYOND))
        # If the values of the two kinds overlap, the limits get the minimum distance. The limits
        # are placed around the middle of the overlap.
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
    """Format the limits as a table in text form."""
    lines = [
        f"{'derived limits':<20}{'none':>8}{'full':>8}{'not redirected':>16}{'redirected':>14}"
    ]
    lines += [
        f"{name:<20}{of.none:>8.3f}{of.full:>8.3f}{of.left_alone:>16.1%}{of.redirected:>14.1%}"
        for name, of in limits.items()
    ]
    return "\n".join(lines)


Outputs = Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]
"""An estimator as a function. The function converts a dict of inputs to a dict of outputs."""

CLOSED_BELOW, OPEN_FROM = 0.08, 0.15
"""An eye counts as closed if its openness is below the first value. An eye counts as open if its
openness is at least the second value. Eyes in between are not scored."""
OCCLUDED_FROM, FREE_BELOW = 0.4, 0.05
"""An eye counts as occluded if its occlusion is at least the first value. An eye counts as free if
its occlusion is below the second value. Eyes in between are not scored."""

_PEOPLE = 40
OCCLUDED_SHARE = 0.4
"""Probability that an occluder is placed over an eye. There are two occluders, and each has this
probability."""
_SEED = 20260401


@dataclass(frozen=True)
class Separation:
    """How well one predicted value separates two kinds of eyes.

    Attributes:
        eyes: number of eyes of the two kinds. The kind whose true values are lower comes first.
        area: area under the ROC curve. Random predictions have an area of 0.5. Perfect predictions
            have an area of 1.
        threshold: threshold of the predicted value. The threshold is chosen so that the mean of
            `low_found` and `high_found` is as high as possible.
        low_found: share of the eyes of the first kind that are below the threshold.
        high_found: share of the eyes of the second kind that are at or above the threshold.
    """

    eyes: tuple[int, int]
    area: float
    threshold: float
    low_found: float
    high_found: float


@dataclass(frozen=True)
class StateScores:
    """Scores of the predicted state of synthetic eyes.

    Attributes:
        patches: number of patches.
        people: number of people.
        errors: name of a value in `STATES` -> mean absolute error over all eyes.
        free_errors: name of a value in `STATES` -> mean absolute error over free eyes. The
            occlusion of a free eye is below `FREE_BELOW`.
        closed: how well the predicted openness separates closed and open eyes. Only free eyes are
            used. `None` if there are no closed or no open eyes.
        occluded: how well the predicted occlusion separates free and occluded eyes. `None` if there
            are no free or no occluded eyes.
        limits: limits for the device. The limits are derived from the predictions for these eyes
            and for photographed eyes. `None` if there are no photographed eyes.
    """

    patches: int
    people: int
    errors: dict[str, float]
    free_errors: dict[str, float]
    closed: Separation | None
    occluded: Separation | None
    limits: StateLimits | None = None


def state_eyes(seed: int, *, people: int = _PEOPLE, progress: Progress = no_progress) -> EyeSamples:
    """Render synthetic eyes for scoring the state.

    The eyes belong to people who are not in the training data.

    Args:
        seed: seed of the people. The seed must be the setting `synthetic.seed` of the run.
        people: number of people.
        progress: reports the number of rendered pictures.
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
    """Run an estimator on every eye, and score the predicted states.

    Args:
        outputs: estimator with an output `state`.
        samples: eyes whose states are known, for example the result of `state_eyes`.
        open_eyes: photographed eyes that are open and not covered, for example eyes from a gaze
            data set. The limits are derived from them. With `None`, no limits are derived.
        conventions: scales of the estimator's inputs.
        progress: reports the number of processed patches.
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
    """Return the predicted state of every patch, [N, 3]."""
    return ask_in_batches(
        lambda inputs: np.asarray(outputs(inputs)["state"]),
        samples,
        conventions=conventions,
        progress=progress,
    )


def separation(low: NDArray[np.float32], high: NDArray[np.float32]) -> Separation | None:
    """Measure how well a predicted value separates two kinds of eyes.

    Args:
        low: [N] predicted values of eyes whose true values are low.
        high: [M] predicted values of eyes whose true values are high.

    Returns:
        the separation. `None` if one of the two kinds has no eyes.
    """
    if not len(low) or not len(high):
        return None
    values = np.unique(np.concatenate([low, high]))
    # The first threshold is the smallest value, so no eye is below it. All other thresholds lie
    # between two neighbouring values.
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
    """Format the scores as a few lines of text."""
    lines = [
        f"state of {scores.patches} synthetic eyes of {scores.people} people outside the training "
        "data; mean absolute errors:",
        f"{'':<16}{'all':>8}{'without occlusion':>26}",
        *(
            f"{name:<16}{scores.errors[name]:>8.3f}{scores.free_errors[name]:>26.3f}"
            for name in STATES
        ),
    ]
    for what, found in (
        (f"A: closed eyes (openness below {CLOSED_BELOW:g}), B: open eyes", scores.closed),
        (f"A: visible eyes, B: occluded eyes (occlusion from {OCCLUDED_FROM:g})", scores.occluded),
    ):
        if found is not None:
            lines.append(
                f"{what}; area under the ROC curve {found.area:.4f}; with a threshold of "
                f"{found.threshold:.3f}, {found.low_found:.1%} of A and "
                f"{found.high_found:.1%} of B are classified correctly"
            )
    if scores.limits is not None:
        lines.append(limits_text(scores.limits))
    return "\n".join(lines)


def _errors(seen: NDArray[np.float32], right: NDArray[np.float32]) -> dict[str, float]:
    off = np.abs(seen - right).mean(axis=0) if len(seen) else np.full(len(STATES), np.nan)
    return {name: float(off[place]) for place, name in enumerate(STATES)}
