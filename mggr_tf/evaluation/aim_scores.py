"""How well an estimator knows where a face looks, by the mean over both eyes, as a device takes it.

What it is off by on frontal heads decides whether somebody who looks into the lens is left alone:
the slope of its answer on the label says how much of a movement it sees, and the answer to a true
(0, 0) where it believes the lens to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import angular_error_deg
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.eye_motion import frontal
from mggr_tf.evaluation.source_gaze import mean_of_both_eyes

_AHEAD_DEG = 0.5
"""A label within so many degrees of (0, 0) is one of a look into the lens."""


@dataclass(frozen=True)
class AimScores:
    """Errors of the mean over both eyes; pitch up, yaw towards the picture's right, degrees.

    Attributes:
        photographs: of which both eyes are among the samples.
        error_deg: mean angle between the mean over both eyes and the label.
        bias_deg: mean of answer minus label, (pitch, yaw).
        frontal_error_deg: as `error_deg`, of frontal heads; None without any.
        slopes: of the answer on the label at frontal heads, (pitch, yaw); None where all labels
            of an axis are the same.
        ahead_deg: mean answer at frontal heads that look into the lens, (pitch, yaw); None
            without any.
    """

    photographs: int
    error_deg: float
    bias_deg: tuple[float, float]
    frontal_error_deg: float | None
    slopes: tuple[float | None, float | None]
    ahead_deg: tuple[float, float] | None


def score_aim(seen_deg: NDArray[np.float32], samples: EyeSamples) -> AimScores | None:
    """Compares the means over both eyes with the labels.

    Args:
        seen_deg: [N, 2] (pitch, yaw), the answer for every patch on its own.
        samples: the N patches.

    Returns:
        the scores; None where no photograph shows both eyes, as in drawn data.
    """
    face_deg, both = mean_of_both_eyes(seen_deg, samples)
    if samples.mirrored is None or not both.any():
        return None
    # Either eye's row holds the same mean; in the one that is not mirrored yaw is the picture's.
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
    """Some lines for people."""
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
            *([f"slope of answer on label: {slopes}"] if slopes else []),
            *([] if ahead is None else [f"a look into the lens is read as {_both(ahead)}"]),
        ]
        lines.append(f"  frontal heads: {'; '.join(parts)}")
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
