"""A drawn clip whose gaze is known: somebody looks about, turns the head a little and blinks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_tf.data.drawn_people import drawn_name
from mggr_tf.drawn_eyes import draw_face, draw_subject
from mggr_tf.drawn_eyes.subject import Subject

RATE = 25
FRAMES = 60
"""How many: enough for a gaze to come and go, and for a blink."""

_SEED = 7700
_PITCH_DEG, _YAW_DEG = 6.0, 13.0
_HEAD_PITCH_DEG, _HEAD_YAW_DEG = 4.0, 8.0
_BLINK_AT, _BLINK_LIDS = 40, (0.5, 1.0, 1.0, 0.6)


@dataclass(frozen=True)
class Moment:
    """What is drawn in a frame.

    Attributes:
        gaze: of both eyes, relative to the camera.
        head_pose: relative to the camera.
        closure: of both eyes; 0 open, 1 closed.
    """

    gaze: Gaze
    head_pose: Gaze
    closure: float


@dataclass(frozen=True)
class DrawnClip:
    """One person's clip.

    Attributes:
        person: whose; another number draws another one. The packaged weights were trained on none
            of them.
        count: how many frames.
    """

    person: int
    count: int = FRAMES

    @cached_property
    def _subject(self) -> Subject:
        return draw_subject([_SEED, self.person])

    @property
    def name(self) -> str:
        """The person's name, as in training data."""
        return drawn_name(_SEED, self.person)

    def moment(self, number: int) -> Moment:
        """What a frame shows."""
        turn = 2 * math.pi * number / FRAMES
        blinking = number - _BLINK_AT
        return Moment(
            gaze=Gaze(_PITCH_DEG * math.sin(2 * turn + 1), _YAW_DEG * math.sin(turn)),
            head_pose=Gaze(_HEAD_PITCH_DEG * math.sin(turn), _HEAD_YAW_DEG * math.cos(turn)),
            closure=_BLINK_LIDS[blinking] if 0 <= blinking < len(_BLINK_LIDS) else 0.0,
        )

    def frame(self, number: int, *, gaze: Gaze | None = None) -> NDArray[np.uint8]:
        """Draws a frame, or what it would be if its person looked elsewhere.

        Returns:
            [480, 640, 3] uint8 RGB.
        """
        shown = self.moment(number)
        return draw_face(
            self._subject,
            gaze=gaze or shown.gaze,
            head_pose=shown.head_pose,
            closure=shown.closure,
            seed=number,
        ).image

    @cached_property
    def pictures(self) -> list[NDArray[np.uint8]]:
        """All frames, drawn once."""
        return [self.frame(number) for number in range(self.count)]

    def frames(self) -> Iterator[tuple[NDArray[np.uint8], float | None]]:
        """All frames with their times."""
        for number, picture in enumerate(self.pictures):
            yield picture, number / RATE
