"""Synthetic patches with all closures and a wide gaze range, for training estimators only.

As in `samples`, a group shares one person, side, head pose and illumination. But each image of a
group has its own closure, from open to closed, and the gaze range is wider. Two images of a group
differ in more than the gaze, so they must not be used as a training pair of a redirector.

The gaze range is wider than a redirector needs, because an uncertain estimator is biased towards
the centre of its training range. On photographs, an estimator trained within 15 degrees of pitch
and 20 degrees of yaw has slopes of 0.66 and 0.88; one trained within 25 and 30 degrees has slopes
of 0.94 and 0.99 (docs/experiments.md).
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

FIRST_CLOSING = 1_000_000
"""Number of the first person, outside the range of numbers that `draw_samples` uses."""

LOWEST_GAZE_DEG, HIGHEST_GAZE_DEG, FURTHEST_GAZE_DEG = -30.0, 25.0, 30.0
"""Lowest and highest pitch, and the largest yaw to either side, relative to the camera."""

_WITHIN_HEAD_DEG = (30.0, 40.0)
"""Largest pitch and yaw of an eye relative to the head."""

_CLOSED_SHARE, _OPEN_SHARE = 0.15, 0.45
_NEARLY_CLOSED_SHARE, _NEARLY_CLOSED_FROM = 0.15, 0.75
"""Fractions of images with closed, fully open and nearly closed eyes, and the lowest closure of
nearly closed eyes. The closures of the remaining images are uniform below that value."""

_STREAM = 5
"""Number of this module's random stream; `samples` uses the streams 1 to 5 of other subjects."""


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
    """Render `subjects * 2 * heads * per_group` patches; a pure function like `draw_samples`.

    Args:
        subjects: number of people.
        per_group: number of images per person, side and head pose.
        seed: seed of all random numbers.
        first: number of the first person.
        heads: number of head poses per person and side.
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
            lit = dataclasses.replace(person, light=draw_light([*key, 1, number]))
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


def _reach(head: NDArray[np.float32]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the (lowest, highest) pitch and (lowest, highest) yaw of the gaze for a head pose.

    Args:
        head: [2] (pitch, yaw) of the head, degrees.

    Returns:
        Ranges in degrees, relative to the camera.
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
