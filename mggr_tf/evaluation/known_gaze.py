"""How far off eyes look after redirection, where the right picture is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.vision.face_mesh import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from mggr_edge.vision.iris import IrisFinder
from mggr_tf.evaluation.drawn_clip import RATE, DrawnClip
from mggr_tf.evaluation.naturalness import should_be_redirected

_EVERY = 5
"""Of so many frames one is held against the picture that it should have become."""


@dataclass(frozen=True)
class KnownGaze:
    """What is left of the way to the target; None where no eye was to be redirected.

    Attributes:
        eyes: that were compared.
        before_deg: mean angle between the drawn gaze and the target.
        after_deg: the same times the share of the way that irises still lack. Where they are
            and where they should be is what the iris model finds in the source, in the redirected
            frame, and in the same face drawn with the target gaze.
    """

    eyes: int
    before_deg: float | None
    after_deg: float | None


def measure_known_gaze(clip: DrawnClip, bundle: Bundle, *, target: Gaze) -> KnownGaze:
    """Redirects a drawn clip, and holds it against what it should have become.

    Args:
        clip: whose gaze is known.
        bundle: the networks.
        target: where eyes shall look.
    """
    redirector, finder = Redirector(bundle, target=target), IrisFinder(bundle.model("iris"))
    angles: list[float] = []
    ways: list[tuple[float, float]] = []
    for number, frame in enumerate(clip.pictures):
        result = redirector.process(frame, time_s=number / RATE)
        if number % _EVERY or clip.moment(number).closure or not result.faces:
            continue
        true = clip.frame(number, gaze=target)
        face = result.faces[0]
        for eye, where in zip(face.eyes, (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS), strict=True):
            corners = face.landmarks[list(where), :2]
            before, after, asked = (
                finder.find(picture, side=eye.side, corners=corners)
                for picture in (frame, result.frame, true)
            )
            if should_be_redirected(eye, face, before):
                angles.append(clip.moment(number).gaze.angle_to(target))
                aim = np.array(asked.iris_centre)
                ways.append(
                    (
                        float(np.linalg.norm(before.iris_centre - aim)),
                        float(np.linalg.norm(after.iris_centre - aim)),
                    )
                )
    if not ways:
        return KnownGaze(0, None, None)
    whole, left = np.sum(ways, axis=0)
    mean = float(np.mean(angles))
    return KnownGaze(len(ways), mean, mean * float(left / max(whole, 1e-6)))
