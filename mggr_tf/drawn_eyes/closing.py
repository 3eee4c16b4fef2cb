"""Synthetic patches of open to closed eyes with a wide gaze range.

A patch is a small image of one eye. Use these patches only to train gaze estimators. The closure of
an eye is 0 if it is open and 1 if it is closed. As in `samples`, all images of a group show the
same person, side, head pose and illumination. Unlike in `samples`, the images of a group have
different closures, and the range of gazes is wider. A redirector is a network that changes the gaze
in images. Two images of a group must not be a training pair of a redirector.

The wide range has a reason: An uncertain estimator is biased towards the centre of its training
range. The bias is visible in the slope of the predicted gaze plotted against the true gaze. The
ideal slope is 1. An estimator was trained with at most 15 degrees of pitch and 20 degrees of yaw.
On photographs, it had a slope of 0.66 for the pitch and 0.88 for the yaw. With at most 25 and 30
degrees, the slopes were 0.94 and 0.99 (docs/experiments.md).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_tf.drawn_eyes.population import draw_light, draw_subject
from mggr_tf.drawn_eyes.render import render_eye
from mggr_tf.drawn_eyes.rendered import RenderedEye
from mggr_tf.drawn_eyes.samples import (
    HEAD_PITCH_RANGE_DEG,
    HEAD_ROLL_DEG,
    HEAD_YAW_RANGE_DEG,
    SIDES,
    Order,
    Progress,
    SyntheticSamples,
    in_parallel,
    samples_of,
    spread,
)
from mggr_tf.drawn_eyes.subject import Lids

FIRST_CLOSING = 1_000_000
"""Number of the first person. `draw_samples` uses smaller numbers."""

LOWEST_GAZE_DEG, HIGHEST_GAZE_DEG, FURTHEST_GAZE_DEG = -30.0, 25.0, 30.0
"""Limits of the gaze relative to the camera, degrees: lowest pitch, highest pitch, largest yaw.

The largest yaw applies to both sides.
"""

_WITHIN_HEAD_DEG = (30.0, 40.0)
"""Largest pitch and largest yaw of an eye relative to the head, degrees."""

_CLOSED_SHARE, _OPEN_SHARE = 0.15, 0.45
_NEARLY_CLOSED_SHARE, _NEARLY_CLOSED_FROM = 0.15, 0.75
"""Distribution of the closures.

The constants that end in `_SHARE` are the fractions of images with closed, open and nearly closed
eyes. `_NEARLY_CLOSED_FROM` is the smallest closure of nearly closed eyes. The closures of all other
images are uniform between 0 and this value.
"""

_SMILE_SHARE, _LARGEST_SMILE_MM = 0.6, 2.2
"""Share of the groups with a raised lower lid, and largest rise in mm.

In portraits of smiling people, the lower lid is 1 mm higher on average than in photographs of
people who do not smile. The share and the largest rise were set by hand. Their effect on an
estimator was not measured separately.
"""

_LEAST_LOWER_MM = 0.3
"""Smallest height of the opening below the line between the corners, in mm."""

_STREAM = 5
"""Number of the random stream of this module.

`samples` uses the streams 1 to 5, but for people with other numbers.
"""


def draw_closing_eyes(
    *,
    subjects: int,
    per_group: int,
    seed: int,
    first: int = FIRST_CLOSING,
    heads: int = 2,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticSamples:
    """Render `subjects * 2 * heads * per_group` patches.

    Like `draw_samples`, the function returns the same result for the same arguments.

    Args:
        subjects: number of people.
        per_group: number of images for each person, side and head pose.
        seed: seed of all random numbers.
        first: number of the first person.
        heads: number of head poses for each person and side.
        workers: see `draw_samples`.
        progress: see `draw_samples`.

    Raises:
        ValueError: a count is below 1, or the seed is negative.
    """
    for name, value in (("subjects", subjects), ("per_group", per_group), ("heads", heads)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    orders = [Order(first + index, per_group, heads, seed) for index in range(subjects)]
    return in_parallel(_draw_person, orders, workers=workers, progress=progress)


def _draw_person(order: Order) -> SyntheticSamples:
    key = [order.seed, order.subject, _STREAM]
    person = draw_subject([order.seed, order.subject])
    rng = np.random.default_rng(key)
    head_deg = spread(rng, order.heads, HEAD_PITCH_RANGE_DEG, HEAD_YAW_RANGE_DEG)
    eyes: list[RenderedEye] = []
    for side in SIDES:
        for number, head in enumerate(head_deg):
            lit = dataclasses.replace(
                person,
                light=draw_light([*key, 1, number]),
                lids=_smiling(person.lids, [*key, 3, number]),
            )
            roll_deg = float(HEAD_ROLL_DEG * rng.standard_normal())
            gaze_deg = spread(rng, order.per_group, 1.0, 1.0)
            for axis, (low, high) in enumerate(_reach(head)):
                gaze_deg[:, axis] = (low + high + gaze_deg[:, axis] * (high - low)) / 2
            for gaze in gaze_deg:
                eyes.append(
                    render_eye(
                        lit if side == "right" else lit.other_eye(),
                        gaze=Gaze.from_array(gaze),
                        head_pose=Gaze.from_array(head),
                        side=side,
                        seed=[*key, 2, len(eyes)],
                        roll_deg=roll_deg,
                        closure=_closure(rng),
                    )
                )
    return samples_of(eyes, order.subject)


def _smiling(lids: Lids, seed: list[int]) -> Lids:
    """Raise the lower lid by a random height in some groups, as a smile does."""
    is_smile, height = np.random.default_rng(seed).uniform(size=2)
    if is_smile >= _SMILE_SHARE:
        return lids
    lower_mm = lids.lower_mm - _LARGEST_SMILE_MM * height
    return dataclasses.replace(
        lids, lower_mm=float(max(lower_mm, lids.corner_drop_mm + _LEAST_LOWER_MM))
    )


def _reach(head: NDArray[np.float32]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ranges of the gaze for a head pose.

    Args:
        head: [2] (pitch, yaw) of the head, degrees.

    Returns:
        (lowest, highest) pitch and (lowest, highest) yaw of the gaze, in degrees relative to the
        camera.
    """
    up_deg, aside_deg = _WITHIN_HEAD_DEG
    pitch_deg, yaw_deg = map(float, head)
    return (
        (max(LOWEST_GAZE_DEG, pitch_deg - up_deg), min(HIGHEST_GAZE_DEG, pitch_deg + up_deg)),
        (max(-FURTHEST_GAZE_DEG, yaw_deg - aside_deg), min(FURTHEST_GAZE_DEG, yaw_deg + aside_deg)),
    )


def _closure(rng: np.random.Generator) -> float:
    kind, where = rng.uniform(size=2)
    if kind < _CLOSED_SHARE:
        return 1.0
    if kind < _CLOSED_SHARE + _OPEN_SHARE:
        return 0.0
    if kind < _CLOSED_SHARE + _OPEN_SHARE + _NEARLY_CLOSED_SHARE:
        return float(_NEARLY_CLOSED_FROM + (1 - _NEARLY_CLOSED_FROM) * where)
    return float(_NEARLY_CLOSED_FROM * where)
