"""Drawn eyes of frontal heads as samples: people, lights and gaze ranges as training draws them."""

from __future__ import annotations

import dataclasses

import numpy as np

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.geometry.angles import Gaze
from mggr_tf.data.drawn_people import SYNTHETIC_LICENCE, drawn_name
from mggr_tf.data.schema import EyeSamples, make_samples
from mggr_tf.drawn_eyes.population import draw_light, draw_subject
from mggr_tf.drawn_eyes.render import render_eye
from mggr_tf.drawn_eyes.rendered import RenderedEye
from mggr_tf.drawn_eyes.samples import PITCH_RANGE_DEG, SIDES, YAW_RANGE_DEG


def draw_frontal_eyes(
    *, people: int, per_side: int, seed: int, progress: Progress = no_progress
) -> EyeSamples:
    """Draws `people * 2 * per_side` patches of frontal heads, with open eyes.

    People, lights and the ranges of gazes are those that training draws. The result is a function
    of the arguments.

    Args:
        people: number of people.
        per_side: gazes of each eye, uniform in the ranges.
        seed: of everything.
        progress: shown the patches that are done.
    """
    ahead = Gaze(0, 0)
    eyes: list[RenderedEye] = []
    names: list[str] = []
    with progress("drawing", people * 2 * per_side) as advance:
        for index in range(people):
            person = draw_subject([seed, index])
            lit = dataclasses.replace(person, light=draw_light([seed, index, 3]))
            rng = np.random.default_rng([seed, index, 1])
            for side in SIDES:
                gazes = rng.uniform(-1, 1, (per_side, 2)) * (PITCH_RANGE_DEG, YAW_RANGE_DEG)
                for gaze in gazes:
                    eyes.append(
                        render_eye(
                            lit if side == "right" else lit.other_eye(),
                            gaze=Gaze.from_array(gaze),
                            head_pose=ahead,
                            side=side,
                            seed=[seed, index, 2, len(eyes)],
                        )
                    )
            names += [drawn_name(seed, index)] * (2 * per_side)
            advance(2 * per_side)
    return make_samples(
        np.stack([eye.image for eye in eyes]),
        gaze_deg=np.stack([eye.gaze.array() for eye in eyes]),
        head_deg=np.stack([eye.head_pose.array() for eye in eyes]),
        sides=[eye.side for eye in eyes],
        subjects=names,
        source=f"synthetic, seed {seed}, frontal heads",
        licence=SYNTHETIC_LICENCE,
    )
