"""Synthetic patches of eyes that close, for the state of an eye: never for a redirector.

A group is one person, one side, one head pose and one light, as in `samples`; but each picture of
it has its own closure, from open to closed, and gazes reach further down. Two of its pictures show
more than another gaze, so nothing that learns to redirect may pair them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mggr_edge.angles import Gaze
from mggr_tf.data.synthetic.population import draw_light, draw_subject
from mggr_tf.data.synthetic.render import render_eye
from mggr_tf.data.synthetic.rendered import RenderedEye
from mggr_tf.data.synthetic.samples import (
    HEAD_PITCH_RANGE_DEG,
    HEAD_ROLL_DEG,
    HEAD_YAW_RANGE_DEG,
    PITCH_RANGE_DEG,
    SIDES,
    YAW_RANGE_DEG,
    Order,
    Progress,
    SyntheticSamples,
    in_parallel,
    samples_of,
    spread,
)

FIRST_CLOSING = 1_000_000
"""Number of the first person whose eyes close: none of those whom `draw_samples` draws."""

LOWEST_GAZE_DEG = -30.0
"""Of the camera's axes, and of the head's."""

_CLOSED_SHARE, _OPEN_SHARE = 0.2, 0.25
_NEARLY_CLOSED_SHARE, _NEARLY_CLOSED_FROM = 0.2, 0.75
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
            gaze_deg = spread(rng, order.per_group, PITCH_RANGE_DEG, YAW_RANGE_DEG)
            # Within the head no eye looks further down than that, however the head nods.
            lowest = LOWEST_GAZE_DEG + max(float(head[0]), 0.0)
            gaze_deg[:, 0] = rng.uniform(lowest, PITCH_RANGE_DEG, order.per_group)
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


def _closure(rng: np.random.Generator) -> float:
    kind, where = rng.uniform(size=2)
    if kind < _CLOSED_SHARE:
        return 1.0
    if kind < _CLOSED_SHARE + _OPEN_SHARE:
        return 0.0
    if kind < _CLOSED_SHARE + _OPEN_SHARE + _NEARLY_CLOSED_SHARE:
        return float(_NEARLY_CLOSED_FROM + (1 - _NEARLY_CLOSED_FROM) * where)
    return float(_NEARLY_CLOSED_FROM * where)
