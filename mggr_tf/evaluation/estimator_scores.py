"""Score a gaze estimator: error, bias, correlation, and slopes at frontal head poses.

The correlation measures whether the estimate follows the eye. The bias is scored separately, for
all people and for each person, because a device can calibrate the offset of its user.

If a person looks into the lens, the device should not change the eyes. Errors of the estimate at
frontal head poses cause wrong changes. The slope is the change of the estimate in degrees per
degree of the label. A slope of 1 is ideal. The mean estimate for a true gaze of (0, 0) is the
estimated direction of the lens.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.geometry.angles import Gaze, angular_error_deg
from mggr_edge.models.conventions import Conventions
from mggr_tf.data.names import SYNTHETIC_LICENCE, drawn_name
from mggr_tf.data.schema import EyeSamples, make_samples
from mggr_tf.drawn_eyes.population import draw_light, draw_subject
from mggr_tf.drawn_eyes.render import render_eye
from mggr_tf.drawn_eyes.rendered import RenderedEye
from mggr_tf.drawn_eyes.samples import PITCH_RANGE_DEG, SIDES, YAW_RANGE_DEG
from mggr_tf.evaluation.bootstrap import MIN_SUBJECTS, Interval, correlation, draw_subjects
from mggr_tf.evaluation.eye_motion import frontal
from mggr_tf.evaluation.source_gaze import (
    Estimate,
    PersonOffsets,
    estimate_each,
    mean_of_both_eyes,
    person_offsets,
)
from mggr_tf.evaluation.state_scores import StateScores, state_text

_AHEAD_DEG = 0.5
"""Maximum absolute pitch and yaw, in degrees, of a label that counts as a look into the lens."""


@dataclass(frozen=True)
class AimScores:
    """Errors of the estimate for a face.

    The estimate for a face is the mean of the estimates for both eyes.

    Angles are in degrees. A positive pitch is up. A positive yaw is to the right in the picture.

    Attributes:
        photographs: number of photographs whose two eyes are both in the samples.
        error_deg: mean angle between the estimate and the label.
        bias_deg: mean difference (pitch, yaw): estimate minus label.
        frontal_error_deg: same as `error_deg`, but only for photographs with a frontal head pose.
            `None` if no photograph has a frontal head pose.
        slopes: (pitch, yaw): change of the estimate per degree of the label, at frontal head poses.
            `None` for an axis whose labels are all equal.
        ahead_deg: (pitch, yaw): mean estimate for photographs with a frontal head pose and a gaze
            into the lens. `None` if there is no such photograph.
    """

    photographs: int
    error_deg: float
    bias_deg: tuple[float, float]
    frontal_error_deg: float | None
    slopes: tuple[float | None, float | None]
    ahead_deg: tuple[float, float] | None


def score_aim(seen_deg: NDArray[np.float32], samples: EyeSamples) -> AimScores | None:
    """Compare the mean estimates over both eyes with the labels.

    Args:
        seen_deg: [N, 2] (pitch, yaw) in degrees, the estimate for each single patch.
        samples: N patches.

    Returns:
        the scores. `None` if there is no photograph whose two eyes are both in the samples.
        Synthetic data contain no photographs.
    """
    face_deg, both = mean_of_both_eyes(seen_deg, samples)
    if samples.mirrored is None or not both.any():
        return None
    # `face_deg` has the same mean for both eyes of a face. For the eye that is not mirrored, the
    # yaw is in the axes of the picture.
    rows = np.flatnonzero(both & ~samples.mirrored)
    answer, label = face_deg[rows].astype(np.float64), samples.gaze_deg[rows].astype(np.float64)
    off_deg = angular_error_deg(answer, label)
    ahead = frontal(samples)[rows]
    into_lens = ahead & (np.abs(label).max(axis=1) <= _AHEAD_DEG)
    return AimScores(
        photographs=len(rows),
        error_deg=float(off_deg.mean()),
        bias_deg=_pair((answer - label).mean(axis=0)),
        frontal_error_deg=float(off_deg[ahead].mean()) if ahead.any() else None,
        slopes=(
            _slope(answer[ahead, 0], label[ahead, 0]),
            _slope(answer[ahead, 1], label[ahead, 1]),
        ),
        ahead_deg=_pair(answer[into_lens].mean(axis=0)) if into_lens.any() else None,
    )


def aim_text(scores: AimScores) -> str:
    """Format the scores as a few lines of text."""
    lines = [
        f"mean of both eyes, {scores.photographs} photographs: "
        f"error {scores.error_deg:.2f} degrees, bias {_both(scores.bias_deg)}"
    ]
    if scores.frontal_error_deg is not None:
        slopes = ", ".join(
            f"{name} {slope:.2f}"
            for name, slope in zip(("pitch", "yaw"), scores.slopes, strict=True)
            if slope is not None
        )
        ahead = scores.ahead_deg
        parts = [
            f"error {scores.frontal_error_deg:.2f}",
            *([f"slope of estimate on label: {slopes}"] if slopes else []),
            *([] if ahead is None else [f"mean estimate for a look into the lens: {_both(ahead)}"]),
        ]
        lines.append(f"  frontal head poses: {'; '.join(parts)}")
    return "\n".join(lines)


def _slope(answer: NDArray[np.float64], label: NDArray[np.float64]) -> float | None:
    if len(label) == 0 or np.ptp(label) == 0:
        return None
    return float(np.polyfit(label, answer, 1)[0])


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    pitch, yaw = (float(value) for value in values)
    return pitch, yaw


def _both(values: tuple[float, float]) -> str:
    return f"pitch {values[0]:+.2f}, yaw {values[1]:+.2f}"


AXES = ("pitch", "yaw")

_HEAD_BIN_DEG = 15.0


@dataclass(frozen=True)
class AxisScores:
    """Scores of one angle, pitch or yaw, over all patches.

    Attributes:
        correlation: correlation of estimates and labels over all patches.
        interval: confidence interval of the correlation over resampled people. `None` if there are
            too few people.
        within_person: mean over people of the correlation for each person. `None` if no person has
            two different labels.
        slope: change of the estimate in degrees per degree of the label.
        bias_deg: mean difference: estimate minus label.
        between_people_deg: standard deviation over people of the bias of each person.
        by_head_yaw: bin of the head yaw -> correlation of estimates and labels in this bin.
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
    """Scores of a gaze estimator.

    Attributes:
        patches: number of patches.
        subjects: names of the subjects.
        error_deg: mean angle between estimate and label.
        offsets: mean offset of the estimates from the labels (see `PersonOffsets`).
        axes: "pitch" or "yaw" -> scores of this angle. If all labels of an angle are equal, the
            angle has no correlation and is omitted. This is the case for photographs of people who
            look into the lens.
        aim: scores of the mean over both eyes. `None` if there is no photograph whose two eyes are
            both in the samples.
        state: scores of the eye state, measured on synthetic eyes. `None` if the estimator does not
            predict the state.
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
    """Run an estimator on every patch, and score the estimated gazes.

    Args:
        estimate: estimator as a function. The function converts a dict of inputs to gazes in
            network units.
        samples: patches of people that the estimator was not trained on.
        conventions: scales of the estimator's inputs and output.
        progress: reports the number of processed patches.
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
    """Format the scores as text. The text contains a table."""
    people = len(scores.subjects)
    lines = [
        f"{scores.patches} patches of {people} subject{'s' if people > 1 else ''}; "
        f"mean error {scores.error_deg:.2f} degrees",
        "offset of estimates from labels: mean length for one person "
        f"{scores.offsets.length_deg:.2f} degrees; mean for all people pitch "
        f"{scores.offsets.pitch_deg:+.2f}, yaw {scores.offsets.yaw_deg:+.2f} (positive yaw is to "
        "the right in the picture)",
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


def draw_frontal_eyes(
    *, people: int, per_side: int, seed: int, progress: Progress = no_progress
) -> EyeSamples:
    """Render synthetic patches with a frontal head pose and open eyes.

    The number of patches is `people * 2 * per_side`.

    People, light and gazes have the same distributions and ranges as in training. The result
    depends only on the arguments.

    Args:
        people: number of people.
        per_side: number of gazes for each eye of a person. Gazes are uniformly distributed in the
            ranges of the training data.
        seed: seed of people, light and gazes.
        progress: reports the number of rendered patches.
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
        source=f"synthetic, seed {seed}, frontal head poses",
        licence=SYNTHETIC_LICENCE,
    )
