"""Formats label scores for a terminal."""

from __future__ import annotations

from mggr_tf.evaluation.eye_classes import CLASSES
from mggr_tf.evaluation.label_scores import FULL_STRENGTH, LabelScores


def label_table(scores: LabelScores) -> str:
    """Formats the scores: a line of figures, then the confusion matrix, then reasons by label."""
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
