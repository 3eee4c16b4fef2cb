"""The gaze of the source: labelled, estimated, estimated with each person's offset.

A device has no labels: the angle difference that it feeds the redirector starts at an estimate. The
device estimates both eyes of a face, turns the left eye's yaw back from the mirrored patch, and
gives both eyes the mean [1]. `estimate_sources` does the same where the samples hold both eyes
of one photograph, and takes one eye's own estimate elsewhere.

It leaves out of the device's way: the weights of the mean (from the gates of
`mggr_edge.pipeline.gating`: openness, sharpness, occlusion; here both eyes weigh the same),
smoothing over time, a user's calibrated offset, and the device's own head pose: head poses are
the labels.

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
"""Where the source gaze of a redirection comes from."""
SOURCES: tuple[SourceGaze, ...] = ("labelled", "estimated")

_BATCH = 256
_MIRROR = np.array([1.0, -1.0], np.float32)
_HUNDREDTHS = 100.0
"""Labels are equal when they agree to a hundredth of a degree."""
_HEADS_APART_DEG = 5.0
"""Most that estimated head angles of both eyes of a face differ by."""

Estimate = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]
"""An estimator: its inputs by name to [B, 2] in network units."""


@dataclass(frozen=True)
class SourceEstimates:
    """Estimated gazes of N patches.

    Attributes:
        gaze_deg: [N, 2] float32, (pitch, yaw), as seen in the (mirrored) patch.
        of_both_eyes: [N] whether the value is the mean over both eyes of a face.
        error_deg: mean angle between estimate and label.
    """

    gaze_deg: NDArray[np.float32]
    of_both_eyes: NDArray[np.bool_]
    error_deg: float

    @property
    def both_eyes_share(self) -> float:
        """Share of the patches whose estimate is the mean over both eyes, [0, 1]."""
        return float(np.mean(self.of_both_eyes))


def estimate_sources(
    estimate: Estimate,
    samples: EyeSamples,
    *,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> SourceEstimates:
    """Estimates the gaze of every patch as a device would.

    Args:
        estimate: the estimator.
        samples: patches; see the module's docstring for what is taken from their labels.
        conventions: scales of the estimator's inputs and output.
        progress: shown the patches that are done.
    """
    alone_deg = estimate_each(estimate, samples, conventions=conventions, progress=progress)
    gaze_deg, both = mean_of_both_eyes(alone_deg, samples)
    error_deg = float(angular_error_deg(gaze_deg, samples.gaze_deg).mean())
    return SourceEstimates(gaze_deg, both, error_deg)


def mean_of_both_eyes(
    alone_deg: NDArray[np.float32], samples: EyeSamples
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The mean over both eyes of each face, where the samples hold both.

    Args:
        alone_deg: [N, 2] (pitch, yaw) of every patch on its own, as seen in the (mirrored) patch.
        samples: the N patches.

    Returns:
        [N, 2] as `alone_deg`, and [N] which values are means over both eyes.
    """
    partner = other_eyes(samples)
    both = partner >= 0
    gaze_deg = alone_deg.copy()
    # The other eye's patch is the mirror image of this one's: its yaw counts the other way.
    gaze_deg[both] = (alone_deg[both] + alone_deg[partner[both]] * _MIRROR) / 2
    return gaze_deg, both


def estimate_each(
    estimate: Estimate,
    samples: EyeSamples,
    *,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """[N, 2] degrees: the estimator's answer for every patch on its own."""
    answers = ask_in_batches(estimate, samples, conventions=conventions, progress=progress)
    return gaze_from_network(answers, conventions)


def ask_in_batches(
    ask: Estimate, samples: EyeSamples, *, conventions: Conventions, progress: Progress
) -> NDArray[np.float32]:
    """[N, K] an estimator's answers for all patches, in network units.

    Args:
        ask: the estimator's inputs by name to [B, K].
        samples: N patches.
        conventions: scales of the inputs.
        progress: shown the patches that are done.
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
    """Index of the other eye in the same photograph for every patch; -1 where there is none.

    Two patches are of one photograph when they are a person's only ones of either side with
    these gaze and head angles: gazes of both eyes are then labels of the face. Head angles may
    differ by some degrees where a person has no other patches of that gaze: patches that were
    cropped from photographs have a head pose of their own for each eye. Data sets that label
    each eye's gaze by itself have no such patches, nor have drawn eyes.

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
    """Every two of the rows that are the only ones with their subject and label [N, K]."""
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
