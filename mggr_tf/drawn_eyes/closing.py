"""Synthetic patches of eyes that close or look far away, for estimators: never for a redirector.

A group is one person, one side, one head pose and one light, as in `samples`; but each picture of
it has its own closure, from open to closed, and gazes reach further. Two of its pictures show
more than another gaze, so nothing that learns to redirect may pair them.

Gazes reach further than a redirector needs because an estimator that is unsure answers nearer to
the middle of what it learned: trained within 15 and 20 degrees of pitch and yaw it reads gazes in
photographs with slopes of 0.66 and 0.88, within 25 and 30 degrees with 0.94 and 0.99
(docs/experiments.md).
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
"""Number of the first person whose eyes close: none of those whom `draw_samples` draws."""

LOWEST_GAZE_DEG, HIGHEST_GAZE_DEG, FURTHEST_GAZE_DEG = -30.0, 25.0, 30.0
"""Pitch down and up, and yaw to either side, in the camera's axes."""

_WITHIN_HEAD_DEG = (30.0, 40.0)
"""Pitch and yaw that an eye reaches within its head."""

_CLOSED_SHARE, _OPEN_SHARE = 0.15, 0.45
_NEARLY_CLOSED_SHARE, _NEARLY_CLOSED_FROM = 0.15, 0.75
"""How many pictures show eyes that are closed, as open as the gaze has them, or nearly closed;
the closures of all others are spread evenly below those."""

_STREAM = 5
"""Of the random numbers; `samples` has those before it."""


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
    """Draws `subjects * 2 * heads * per_group` patches; a pure function, as `draw_samples`.

    Args:
        subjects: number of people.
        per_group: pictures of one person, side and head pose.
        seed: of everything.
        first: number of the first person.
        heads: head poses per person and side.
        workers, progress: see `draw_samples`.

    Raises:
        ValueError: a count below 1, or a negative seed.
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
    """(lowest, highest) pitch and yaw of an eye in this head, in the camera's axes."""
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
