"""Estimate source gazes as on a device, and compute the mean offset of each person.

The source gaze is the gaze of an eye before redirection. The offset is the difference between the
estimated gaze and the label.

The redirector needs the difference between the source gaze and the target gaze. A device has no
labels, so it estimates the source gaze. The device estimates the gaze of both eyes of a face. The
patch of the left eye is mirrored, so the device negates the yaw of the left eye. The device then
uses the mean of both estimates as the gaze of both eyes [1]. If the samples contain both eyes of a
photograph, `estimate_sources` does the same. Otherwise `estimate_sources` uses the estimate for the
single eye.

`estimate_sources` differs from the device in four points. First, both eyes have the same weight in
the mean. The device uses weights from `mggr_edge.pipeline.gating`, which depend on openness,
sharpness and occlusion. Second, there is no smoothing over time. Third, there is no calibrated
offset of a user. Fourth, head poses are labels. The device estimates head poses.

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
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import estimator_inputs, gaze_from_network
from mggr_tf.data.schema import EyeSamples

SourceGaze = Literal["labelled", "estimated"]
"""Whether the source gaze of a redirection is a label or an estimate."""
SOURCES: tuple[SourceGaze, ...] = ("labelled", "estimated")

_BATCH = 256
_MIRROR = np.array([1.0, -1.0], np.float32)
_HUNDREDTHS = 100.0
"""Labels count as equal if they are equal after rounding to a hundredth of a degree."""
_HEADS_APART_DEG = 5.0
"""Maximum difference in degrees between the estimated head angles of both eyes of a face."""

Estimate = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]
"""An estimator as a function.

The function converts a dict of inputs to gazes [B, 2], network units.
"""


@dataclass(frozen=True)
class SourceEstimates:
    """Estimated gazes of N patches.

    Attributes:
        gaze_deg: [N, 2] float32 (pitch, yaw) in degrees, in the axes of the patch. Patches of left
            eyes are mirrored.
        of_both_eyes: [N] bool, whether each gaze is the mean over both eyes of a face.
        error_deg: mean angle between estimate and label in degrees.
    """

    gaze_deg: NDArray[np.float32]
    of_both_eyes: NDArray[np.bool_]
    error_deg: float

    @property
    def both_eyes_share(self) -> float:
        """Share of the patches whose gaze is the mean over both eyes, in [0, 1]."""
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
        samples: N patches with labels. The labelled head poses are inputs of the estimator. The
            labelled gazes are only used to compute the error.
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
            patch. Patches of left eyes are mirrored.
        samples: N patches.

    Returns:
        gazes [N, 2] in the format of `alone_deg`, and an array [N] bool. The array is true for each
        gaze that is a mean over both eyes. If the samples do not contain the other eye, the gaze
        stays the same.
    """
    partner = other_eyes(samples)
    both = partner >= 0
    gaze_deg = alone_deg.copy()
    # One of the two patches is mirrored, so the yaw of this patch has the opposite sign.
    gaze_deg[both] = (alone_deg[both] + alone_deg[partner[both]] * _MIRROR) / 2
    return gaze_deg, both


def estimate_each(
    estimate: Estimate,
    samples: EyeSamples,
    *,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Return the estimator's gaze for each single patch, [N, 2] in degrees."""
    answers = ask_in_batches(estimate, samples, conventions=conventions, progress=progress)
    return gaze_from_network(answers, conventions)


def ask_in_batches(
    ask: Estimate, samples: EyeSamples, *, conventions: Conventions, progress: Progress
) -> NDArray[np.float32]:
    """Return an estimator's output for all patches, [N, K] in network units.

    Args:
        ask: estimator as a function. The function converts a dict of inputs to an output [B, K].
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
    """Return for each patch the index of the other eye in the same photograph.

    The index is -1 if the samples do not contain the other eye.

    Two patches of one person belong to one photograph if three conditions are met. The two patches
    show different sides. The two patches have the same gaze and the same head angles. The person
    has no other patch with this gaze and these head angles. If the person has no other patches with
    this gaze, the head angles may differ by up to 5 degrees. This exception is needed because
    patches from cropped photographs have a separate head pose for each eye.

    The method works only if both eyes of a face have one common gaze label. If each eye has its own
    gaze label, no patches match. Synthetic eyes never match.

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
    """Yield pairs of rows with the same subject and the same labels [N, K].

    A pair is only yielded if no third row has this subject and these labels.
    """
    alike: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    # Adding 0 changes -0 to 0.
    hundredths = np.rint(labels * _HUNDREDTHS).astype(np.int64) + 0
    for row in rows:
        alike[str(subject[row]), hundredths[row].tobytes()].append(int(row))
    for found in alike.values():
        if len(found) == 2:
            yield found[0], found[1]


@dataclass(frozen=True)
class PersonOffsets:
    """Mean offsets of estimates from labels.

    Offsets are averaged first over the patches of each person, and then over people.

    Attributes:
        length_deg: length of a person's mean offset in degrees, averaged over people.
        pitch_deg: mean offset in pitch, in degrees. Positive is up.
        yaw_deg: mean offset in yaw, in degrees. Positive is to the right in the picture, for both
            eyes.
    """

    length_deg: float
    pitch_deg: float
    yaw_deg: float


def person_offsets(seen_deg: NDArray[np.float32], samples: EyeSamples) -> PersonOffsets:
    """Compute the mean offsets of estimates from labels.

    The patches of both eyes are combined, as on a device.

    Args:
        seen_deg: [N, 2] estimates, (pitch, yaw) in degrees, in the axes of the patches. Patches of
            left eyes are mirrored.
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
