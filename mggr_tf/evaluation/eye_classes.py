"""Class of an eye: open, looking down, closed or occluded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mggr_edge.models.network_io import EyeState

EyeClass = Literal["open", "down", "closed", "occluded"]
CLASSES: tuple[EyeClass, ...] = get_args(EyeClass)

Predicted = Literal["open", "down", "closed", "occluded", "out"]
"""A class, or `out`: the device leaves the eye alone because the eye is not visible well enough."""

_OF_REASON: dict[str, Predicted] = {
    "closed": "closed",
    "looking down": "down",
    "covered": "occluded",
    "head turned": "out",
    "too small": "out",
    "not clear": "out",
}
"""Any other reason, such as "easing in", holds back an eye that is open."""


@dataclass(frozen=True)
class ClassLimits:
    """Thresholds between the classes, on the values of an `EyeState`.

    The defaults restate the definitions of the labels: a label `down` means that less than about
    half of the iris is visible, `closed` that none is, `occluded` that something hides the opening.
    They are not fitted. Better values are to be derived where the state is known, from drawn eyes,
    and never from labelled frames, which are for reporting only.

    Attributes:
        occlusion: an eye with at least this part of its opening covered is occluded, in [0, 1].
        closed_openness: an eye that is at most this open (distance between the lids over distance
            between the corners) is closed.
        closed_iris: an eye with at most this part of the iris visible is closed, in [0, 1].
        down_iris: an eye with less than this part of the iris visible looks down, in [0, 1].
    """

    occlusion: float = 0.5
    closed_openness: float = 0.05
    closed_iris: float = 0.05
    down_iris: float = 0.5


def eye_class(state: EyeState, limits: ClassLimits | None = None) -> EyeClass:
    """Returns the class of an eye from its estimated state.

    Occlusion decides first, because lids that are covered cannot be judged.

    Args:
        state: output `state` of the estimator.
        limits: thresholds; None for the default ones.
    """
    limits = limits or ClassLimits()
    if state.occlusion >= limits.occlusion:
        return "occluded"
    if state.openness <= limits.closed_openness or state.iris_visible <= limits.closed_iris:
        return "closed"
    return "down" if state.iris_visible < limits.down_iris else "open"


def class_of_reason(strength: float, reason: str | None) -> Predicted:
    """Returns the class that the device acts on, for a bundle whose estimator gives no state.

    Args:
        strength: of the redirection of the eye, in [0, 1]. An eye with any strength counts as open.
        reason: why the strength is less than requested; see `mggr_edge.pipeline.gating.Reason`.
    """
    if strength > 0.0 or reason is None:
        return "open"
    return _OF_REASON.get(reason, "open")
