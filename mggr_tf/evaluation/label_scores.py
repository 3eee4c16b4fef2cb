"""Compare the results of the device pipeline with labelled frames, and format the scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mggr_edge.errors import DataError
from mggr_edge.models.network_io import EyeState
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.vision.face_mesh import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from mggr_tf.evaluation.frame_labels import (
    CLASSES,
    LABELS,
    ClassLimits,
    FrameLabels,
    Label,
    LabelledFace,
    Predicted,
    class_of_reason,
    eye_class,
)

REDIRECTED = 0.1
"""An eye counts as redirected if its strength is above this value."""

_SAME_FACE = 0.5
"""A labelled face and a detected face match if their centres are close to each other. The distance
of the centres is divided by the distance between the outer eye corners of the detected face. The
result must be below this value."""

NOT_FOUND = "not found"
FULL_STRENGTH = "full strength"
"""`NOT_FOUND` is shown instead of the class if no face was detected. `FULL_STRENGTH` is shown
instead of the reason if there is no reason."""

_SAME_TIME_MS = 1.0


@dataclass(frozen=True)
class ScoredEye:
    """A labelled eye and its result in the device pipeline.

    Attributes:
        label: label that a person assigned to the eye.
        strength: strength of the redirection, in [0, 1]. The strength is 0 if no face was detected
            at this position.
        reason: reason why the strength is below the requested strength. `None` at full strength, or
            if no face was detected.
        predicted: class of the eye. The class is derived from the predicted state. If the estimator
            does not predict the state, the class is derived from strength and reason. `None` if no
            face was detected.
    """

    label: Label
    strength: float
    reason: str | None
    predicted: Predicted | None


@dataclass(frozen=True)
class LabelScores:
    """Scores of one clip.

    Attributes:
        eyes: all labelled eyes, except eyes with the label `unsure`.
    """

    eyes: tuple[ScoredEye, ...]

    def found(self, label: Label) -> list[ScoredEye]:
        """Return the eyes with this label whose face was detected."""
        return [eye for eye in self.eyes if eye.label == label and eye.predicted is not None]

    @property
    def closed_strength_max(self) -> float | None:
        """Largest strength of the eyes with the label `closed`.

        Only eyes in detected faces count. `None` if there are no such eyes.
        """
        return max((eye.strength for eye in self.found("closed")), default=None)

    @property
    def closed_redirected(self) -> float | None:
        """Share of the eyes with the label `closed` whose strength is above `REDIRECTED`.

        Only eyes in detected faces count. `None` if there are no such eyes.
        """
        return _redirected(self.found("closed"))

    @property
    def state_right(self) -> float | None:
        """Share of eyes with the correct class, among eyes whose label is one of the `CLASSES`.

        Only eyes in detected faces count. `None` if there are no such eyes.
        """
        right = [eye.predicted == label for label in CLASSES for eye in self.found(label)]
        return float(np.mean(right)) if right else None

    def confusion(self) -> dict[str, dict[str, int]]:
        """Return label -> predicted class -> number of eyes.

        An eye without a detected face has the class `not found`.
        """
        return self._counts(lambda eye: eye.predicted or NOT_FOUND)

    def reasons(self) -> dict[str, dict[str, int]]:
        """Return label -> reason for reduced strength -> number of eyes.

        An eye without a reason has the reason `full strength`. An eye without a detected face has
        the reason `not found`.
        """
        return self._counts(
            lambda eye: NOT_FOUND if eye.predicted is None else eye.reason or FULL_STRENGTH
        )

    def _counts(self, name_of: Callable[[ScoredEye], str]) -> dict[str, dict[str, int]]:
        counts = {label: Counter(map(name_of, self._of(label))) for label in LABELS}
        return {label: dict(sorted(count.items())) for label, count in counts.items() if count}

    def _of(self, label: Label) -> list[ScoredEye]:
        return [eye for eye in self.eyes if eye.label == label]

    def as_json(self) -> dict[str, Any]:
        """Return all scores as JSON types. Shares are in [0, 1]."""
        return {
            "closed_strength_max": self.closed_strength_max,
            "closed_redirected": self.closed_redirected,
            "state_right": self.state_right,
            "eyes": {label: len(self._of(label)) for label in LABELS if self._of(label)},
            "found": {label: len(self.found(label)) for label in LABELS if self._of(label)},
            "redirected": {
                label: _redirected(self.found(label)) for label in LABELS if self._of(label)
            },
            "confusion": self.confusion(),
            "reasons": self.reasons(),
        }


class LabelScorer:
    """Compares the results of all frames of a clip with the labels of the clip.

    Args:
        labels: labels of the clip.
        limits: thresholds that determine the class from an estimated state. `None` means the
            defaults.
    """

    def __init__(self, labels: FrameLabels, *, limits: ClassLimits | None = None) -> None:
        self._labels, self._limits = labels, limits
        self._count = 0
        self._eyes: list[ScoredEye] = []

    def __call__(self, result: FrameResult, time_s: float | None) -> None:
        """Process the result of the next frame.

        This method must be called once for every frame, including frames without labels.

        Args:
            result: result of the frame.
            time_s: presentation time of the frame in seconds.

        Raises:
            DataError: the label file contains another time for this frame.
        """
        labelled = self._labels.frames.get(self._count)
        self._count += 1
        if labelled is None:
            return
        time_ms = None if time_s is None else 1000.0 * time_s
        if time_ms is None or abs(time_ms - labelled.time_ms) > _SAME_TIME_MS:
            raise DataError(
                f"{self._labels.path} labels frame {self._count - 1} at {labelled.time_ms:g} ms, "
                f"but the clip shows it at {time_ms} ms; pass the clip that was labelled",
                code="label-time-not-in-clip",
                path=self._labels.path,
                frame=self._count - 1,
                expected=labelled.time_ms,
                found=time_ms,
            )
        found = _matched(labelled.faces, result.faces)
        for face, other in zip(labelled.faces, found, strict=True):
            eyes = {} if other is None else {eye.side: eye for eye in other.eyes}
            self._eyes += [
                self._scored(label, eyes.get(side))
                for side, label in face.labels.items()
                if label != "unsure"
            ]

    def scores(self) -> LabelScores:
        """Return the scores. This method must be called after the last frame.

        Raises:
            DataError: the number of frames differs from the number of frames in the label file.
        """
        if self._count != self._labels.frame_count:
            raise DataError(
                f"{self._labels.path} labels a clip of {self._labels.frame_count} frames, but the "
                f"clip has {self._count}; pass the clip that was labelled",
                code="clip-length-differs",
                path=self._labels.path,
                expected=self._labels.frame_count,
                found=self._count,
            )
        return LabelScores(tuple(self._eyes))

    def _scored(self, label: Label, eye: EyeResult | None) -> ScoredEye:
        if eye is None:
            return ScoredEye(label, 0.0, None, None)
        # A result contains a state only if the estimator has the output `state`.
        state: EyeState | None = eye.state
        predicted: Predicted = (
            class_of_reason(eye.strength, eye.reason)
            if state is None
            else eye_class(state, self._limits)
        )
        return ScoredEye(label, eye.strength, eye.reason, predicted)


def _matched(
    labelled: Sequence[LabelledFace], found: Sequence[FaceResult]
) -> list[FaceResult | None]:
    """Return the detected face for each labelled face.

    The value is `None` if no detected face matches.

    The function first matches the labelled face and the detected face with the smallest distance.
    Then it matches the pair with the next distance, and so on.
    """
    corners = [face.landmarks[[*RIGHT_EYE_CORNERS, *LEFT_EYE_CORNERS]] for face in found]
    pairs = []
    for n, face in enumerate(labelled):
        for m, (right, _, left, _) in enumerate(corners):
            away_px = np.linalg.norm(corners[m][:, :2].mean(axis=0) - face.centre)
            # The distance between the eye corners includes the depth. Therefore this distance does
            # not depend on the rotation of the head.
            share = away_px / max(float(np.linalg.norm(left - right)), 1e-6)
            if share < _SAME_FACE:
                pairs.append((float(share), n, m))
    matches: dict[int, int] = {}
    for _, n, m in sorted(pairs):
        if n not in matches and m not in matches.values():
            matches[n] = m
    return [found[matches[n]] if n in matches else None for n in range(len(labelled))]


def _redirected(eyes: Sequence[ScoredEye]) -> float | None:
    return float(np.mean([eye.strength > REDIRECTED for eye in eyes])) if eyes else None


def label_table(scores: LabelScores) -> str:
    """Format the scores as text.

    The text contains one line of values, the confusion matrix, and a table of the reasons.
    """
    values = (scores.closed_strength_max, scores.closed_redirected, scores.state_right)
    names = ("closed_strength_max", "closed_redirected", "state_right")
    lines = [
        ", ".join(
            f"{name} {'-' if value is None else format(value, '.3f')}"
            for name, value in zip(names, values, strict=True)
        ),
        *_matrix("label \\ class", scores.confusion()),
        *_matrix("label \\ reason", scores.reasons()),
    ]
    return "\n".join(lines)


def _matrix(corner: str, counts: dict[str, dict[str, int]]) -> list[str]:
    seen = {name for row in counts.values() for name in row}
    fixed = [*CLASSES, "out", FULL_STRENGTH]
    names = [name for name in fixed if name in seen] + sorted(seen - {*fixed})
    width = max(map(len, (*names, "0")), default=0) + 2
    head = f"{corner:<16}" + "".join(f"{name:>{width}}" for name in names)
    return [head] + [
        f"{label:<16}" + "".join(f"{row.get(name, 0):>{width}}" for name in names)
        for label, row in counts.items()
    ]
