"""The part of an estimator's error that belongs to a person, over all patches of both eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.schema import EyeSamples


@dataclass(frozen=True)
class PersonOffsets:
    """Mean offsets of an estimator's answers from the labels, person by person.

    Attributes:
        length_deg: mean over people of the length of a person's own mean offset.
        pitch_deg: mean over people of their own mean offsets in pitch, + up.
        yaw_deg: the same in yaw, + to the picture's right, whichever eye.
    """

    length_deg: float
    pitch_deg: float
    yaw_deg: float


def person_offsets(seen_deg: NDArray[np.float32], samples: EyeSamples) -> PersonOffsets:
    """Averages each person's offsets over all of their patches, as a device does over both eyes.

    Args:
        seen_deg: [N, 2] the answers, (pitch, yaw), as seen in the (mirrored) patches.
        samples: [N] the patches.
    """
    off_deg = (seen_deg - samples.gaze_deg).astype(np.float64)
    if samples.mirrored is not None:
        off_deg[samples.mirrored, 1] *= -1
    of_people = np.stack(
        [off_deg[samples.subject == name].mean(axis=0) for name in samples.subjects]
    )
    pitch_deg, yaw_deg = of_people.mean(axis=0)
    return PersonOffsets(
        float(np.linalg.norm(of_people, axis=1).mean()), float(pitch_deg), float(yaw_deg)
    )
