"""How well a gaze estimator reads eyes of people whom it never saw.

A correlation says whether it follows the eye; what it is off by on average, for everybody or for
each person, is another matter, which a device can learn about its user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.models.contract import Conventions
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.aim_scores import AimScores, aim_text, score_aim
from mggr_tf.evaluation.bootstrap import MIN_SUBJECTS, Interval, correlation, draw_subjects
from mggr_tf.evaluation.person_offsets import PersonOffsets, person_offsets
from mggr_tf.evaluation.source_gaze import Estimate, estimate_each
from mggr_tf.evaluation.state_scores import StateScores, state_text

AXES = ("pitch", "yaw")

_HEAD_BIN_DEG = 15.0


@dataclass(frozen=True)
class AxisScores:
    """One angle, over all patches.

    Attributes:
        correlation: of the answers with the labels; the interval is over resampled people, and
            None with fewer than it needs.
        within_person: mean over people of each one's own correlation; None where nobody looks
            two ways.
        slope: degrees that the answer moves for one of the label.
        bias_deg: mean of answer minus label.
        between_people_deg: standard deviation of the people's own biases.
        by_head_yaw: head yaw's bin -> correlation there.
    """

    correlation: float
    interval: Interval | None
    within_person: float | None
    slope: float
    bias_deg: float
    between_people_deg: float
    by_head_yaw: dict[str, float]


@dataclass(frozen=True)
class EstimatorScores:
    """What an estimator does on some people.

    Attributes:
        patches: how many.
        subjects: whose.
        error_deg: mean angle between answer and label.
        offsets: of its answers, person by person.
        axes: by "pitch" and "yaw"; one in which all labels are the same, as in photographs of
            people who look into the lens, has no correlation and is left out.
        aim: of the mean over both eyes; None for samples without both eyes of a photograph.
        state: of the state of drawn eyes; None for an estimator that does not predict it.
    """

    patches: int
    subjects: tuple[str, ...]
    error_deg: float
    offsets: PersonOffsets
    axes: dict[str, AxisScores]
    aim: AimScores | None = None
    state: StateScores | None = None


def score_estimator(
    estimate: Estimate,
    samples: EyeSamples,
    *,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> EstimatorScores:
    """Asks an estimator about every patch.

    Args:
        estimate: an estimator's inputs to its output in network units.
        samples: of people whom it was not trained on.
        progress: shown the patches that are done.
    """
    seen_deg = estimate_each(estimate, samples, conventions=conventions, progress=progress)
    return EstimatorScores(
        patches=len(samples),
        subjects=samples.subjects,
        error_deg=float(angular_error_deg(seen_deg, samples.gaze_deg).mean()),
        offsets=person_offsets(seen_deg, samples),
        axes={
            name: _axis(seen_deg[:, k], samples, k)
            for k, name in enumerate(AXES)
            if np.ptp(samples.gaze_deg[:, k]) > 0
        },
        aim=score_aim(seen_deg, samples),
    )


def scores_text(scores: EstimatorScores) -> str:
    """A table for people."""
    people = len(scores.subjects)
    lines = [
        f"{scores.patches} patches of {people} subject{'s' if people > 1 else ''}; "
        f"mean error {scores.error_deg:.2f} degrees",
        f"mean offset of a person: {scores.offsets.length_deg:.2f} degrees; of all people: pitch "
        f"{scores.offsets.pitch_deg:+.2f}, yaw {scores.offsets.yaw_deg:+.2f} (picture's right)",
    ]
    if scores.axes:
        lines += _axes_text(scores.axes)
    if scores.aim is not None:
        lines.append(aim_text(scores.aim))
    if scores.state is not None:
        lines.append(state_text(scores.state))
    return "\n".join(lines)


def _axes_text(axes: dict[str, AxisScores]) -> list[str]:
    lines = [
        f"{'':<8}{'correlation':>12}{'95 % interval':>18}{'within person':>15}{'slope':>8}"
        f"{'bias':>8}{'between people':>16}",
    ]
    for name, axis in axes.items():
        reach = axis.interval
        interval = "-" if reach is None else f"[{reach.low:.3f}, {reach.high:.3f}]"
        within = "-" if axis.within_person is None else f"{axis.within_person:.3f}"
        lines.append(
            f"{name:<8}{axis.correlation:>12.3f}{interval:>18}{within:>15}{axis.slope:>8.2f}"
            f"{axis.bias_deg:>+8.1f}{axis.between_people_deg:>16.1f}"
        )
    bins = next(iter(axes.values())).by_head_yaw
    lines.append(f"{'head yaw':<8}" + "".join(f"{name:>10}" for name in bins))
    for name, axis in axes.items():
        lines.append(
            f"{name:<8}" + "".join(f"{value:>10.3f}" for value in axis.by_head_yaw.values())
        )
    return lines


def _axis(seen: NDArray[np.float32], samples: EyeSamples, axis: int) -> AxisScores:
    label, off = samples.gaze_deg[:, axis], seen - samples.gaze_deg[:, axis]
    people = [samples.subject == name for name in samples.subjects]
    enough = len(people) >= MIN_SUBJECTS
    own = [_pearson(seen[p], label[p]) for p in people if np.ptp(label[p]) > 0]
    head = np.rint(samples.head_deg[:, 1] / _HEAD_BIN_DEG).astype(int)
    return AxisScores(
        correlation=_pearson(seen, label),
        interval=correlation(draw_subjects(samples.subject), seen, label) if enough else None,
        within_person=float(np.mean(own)) if own else None,
        slope=float(np.polyfit(label, seen, 1)[0]),
        bias_deg=float(off.mean()),
        between_people_deg=float(np.std([off[p].mean() for p in people])),
        by_head_yaw={
            f"{number * _HEAD_BIN_DEG:+.0f}": _pearson(seen[head == number], label[head == number])
            for number in np.unique(head)
            if np.ptp(label[head == number]) > 0
        },
    )


def _pearson(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.corrcoef(one, other)[0, 1])
