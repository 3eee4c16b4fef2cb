"""Source gazes, labelled or estimated as on a device, and the mean offset of each person.

A device has no labels, so it computes the redirector's angle difference from an estimated source
gaze. The device estimates the gaze of both eyes of a face, negates the yaw of the left eye, whose
patch is mirrored, and uses the mean for both eyes [1]. `estimate_sources` does the same if the
samples contain both eyes of a photograph, otherwise it uses the estimate of the single eye.

It differs from the device in four points. Both eyes have the same weight in the mean, whereas the
device uses weights from the gates of `mggr_edge.pipeline.gating` (openness, sharpness, occlusion).
There is no smoothing over time. There is no calibrated offset of a user. Head poses are the
labels, not the device's estimates.

References:
    [1] `mggr_edge.pipeline.redirector.Redirector`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import estimator_inputs, gaze_from_network
from mggr_tf.data.schema import EyeSamples

SourceGaze = Literal["labelled", "estimated"]
"""Origin of the source gaze of a redirection."""
SOURCES: tuple[SourceGaze, ...] = ("labelled", "estimated")

_BATCH = 256
_MIRROR = np.array([1.0, -1.0], np.float32)
_HUNDREDTHS = 100.0
"""Labels count as equal if they agree to a hundredth of a degree."""
_HEADS_APART_DEG = 5.0
"""Maximum difference between the estimated head angles of both eyes of a face."""

Estimate = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]
"""An estimator as a function: inputs by name to gazes [B, 2] in network units."""


@dataclass(frozen=True)
class SourceEstimates:
    """Estimated gazes of N patches.

    Attributes:
        gaze_deg: [N, 2] float32 (pitch, yaw) in degrees, in the axes of the (mirrored) patch.
        of_both_eyes: [N] bool, whether the gaze is the mean over both eyes of a face.
        error_deg: mean angle between estimate and label in degrees.
    """

    gaze_deg: NDArray[np.float32]
    of_both_eyes: NDArray[np.bool_]
    error_deg: float

    @property
    def both_eyes_share(self) -> float:
        """Share of the patches whose estimate is the mean over both eyes, in [0, 1]."""
        return float(np.mean(self.of_both_eyes))


def estimate_sources(
    estimate: Estimate,
    samples: EyeSamples,
    *,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> SourceEstimates:
    """Estimate the gaze of every patch in the same way as a device.

    Args:
        estimate: estimator.
        samples: N patches. Their head poses are used, their gazes only for the error.
        conventions: scales of the estimator's inputs and output.
        progress: reports the number of processed patches.
    """
    alone_deg = estimate_each(estimate, samples, conventions=conventions, progress=progress)
    gaze_deg, both = mean_of_both_eyes(alone_deg, samples)
    error_deg = float(angular_error_deg(gaze_deg, samples.gaze_deg).mean())
    return SourceEstimates(gaze_deg, both, error_deg)


def mean_of_both_eyes(
    alone_deg: NDArray[np.float32], samples: EyeSamples
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Replace the gazes of single eyes by the mean over both eyes of a face.

    Args:
        alone_deg: [N, 2] gaze of each single patch, (pitch, yaw) in degrees, in the axes of the
            (mirrored) patch.
        samples: N patches.

    Returns:
        gazes [N, 2] in the format of `alone_deg`, and [N] bool, whether each gaze is a mean over
        both eyes. The gaze of a patch without the other eye stays the same.
    """
    partner = other_eyes(samples)
    both = partner >= 0
    gaze_deg = alone_deg.copy()
    # One patch of the two is mirrored, so its yaw has the opposite sign.
    gaze_deg[both] = (alone_deg[both] + alone_deg[partner[both]] * _MIRROR) / 2
    return gaze_deg, both


def estimate_each(
    estimate: Estimate,
    samples: EyeSamples,
    *,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Return the estimator's gaze for each single patch, [N, 2] degrees."""
    answers = ask_in_batches(estimate, samples, conventions=conventions, progress=progress)
    return gaze_from_network(answers, conventions)


def ask_in_batches(
    ask: Estimate, samples: EyeSamples, *, conventions: Conventions, progress: Progress
) -> NDArray[np.float32]:
    """Return an estimator's output for all patches, [N, K] in network units.

    Args:
        ask: estimator; inputs by name to an output [B, K].
        samples: N patches.
        conventions: scales of the inputs.
        progress: reports the number of processed patches.
    """
    answers = []
    with progress("estimating", len(samples)) as advance:
        for first in range(0, len(samples), _BATCH):
            rows = slice(first, first + _BATCH)
            inputs = estimator_inputs(
                samples.images[rows], head_deg=samples.head_deg[rows], conventions=conventions
            )
            answers.append(np.asarray(ask(inputs)))
            advance(len(answers[-1]))
    return np.concatenate(answers)


def other_eyes(samples: EyeSamples) -> NDArray[np.int64]:
    """Return for every patch the index of the other eye in the same photograph, or -1.

    Two patches of different sides belong to one photograph if they are the only patches of a
    person with their gaze and head angles. Their gaze is then a label of the face. If a person
    has no other patches with that gaze, the head angles may differ by up to 5 degrees, because
    patches that were cropped from photographs have a separate head pose for each eye. Data sets
    with a separate gaze label for each eye have no such patches, and neither have synthetic eyes.

    Returns:
        [N] int64.
    """
    partner = np.full(len(samples), -1, np.int64)
    if samples.mirrored is None:
        return partner
    turn = np.where(samples.mirrored[:, None], _MIRROR, np.float32(1))
    gaze_deg, head_deg = samples.gaze_deg * turn, samples.head_deg * turn
    both = np.concatenate([gaze_deg, head_deg], axis=1)
    for labels, apart_deg in ((both, 1 / _HUNDREDTHS), (gaze_deg, _HEADS_APART_DEG)):
        for one, other in _twos(labels, samples.subject, np.flatnonzero(partner < 0)):
            heads_agree = np.abs(head_deg[one] - head_deg[other]).max() <= apart_deg
            if heads_agree and samples.mirrored[one] != samples.mirrored[other]:
                partner[one], partner[other] = other, one
    return partner


def _twos(
    labels: NDArray[np.float32], subject: NDArray[np.str_], rows: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Yield every two rows that are the only ones with the same subject and labels [N, K]."""
    alike: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    # Adding 0 turns -0 into 0.
    hundredths = np.rint(labels * _HUNDREDTHS).astype(np.int64) + 0
    for row in rows:
        alike[str(subject[row]), hundredths[row].tobytes()].append(int(row))
    for found in alike.values():
        if len(found) == 2:
            yield found[0], found[1]


@dataclass(frozen=True)
class PersonOffsets:
    """Mean offsets of estimates from labels, averaged first over a person, then over people.

    Attributes:
        length_deg: mean over people of the length of a person's mean offset, in degrees.
        pitch_deg: mean over people of a person's mean offset in pitch, degrees, + up.
        yaw_deg: mean over people of a person's mean offset in yaw, degrees, + to the picture's
            right for both eyes.
    """

    length_deg: float
    pitch_deg: float
    yaw_deg: float


def person_offsets(seen_deg: NDArray[np.float32], samples: EyeSamples) -> PersonOffsets:
    """Average the offsets of each person over all patches, as a device does over both eyes.

    Args:
        seen_deg: [N, 2] estimates, (pitch, yaw) in degrees, in the axes of the (mirrored) patches.
        samples: N patches.
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
