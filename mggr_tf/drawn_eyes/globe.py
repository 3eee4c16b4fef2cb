"""The eyeball as points: where a line of sight meets it, and what is there.

A sphere with the cornea's smaller one before it. Through the cornea the iris and its
pupil are seen as a disc where they appear from outside, some 3 mm behind the cornea's apex
(the entrance pupil). The gazemap has them there too: `IRIS_PLANE` eyeball radii before the
centre. The disc's rim lies on the sphere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, unit_vectors
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.subject import Eyeball

IRIS_PLANE = float(np.cos(np.radians(30.0)))
"""Distance of the iris's plane from the eyeball's centre, in eyeball radii."""

CORNEA_CENTRE, CORNEA_RADIUS = 0.47, 0.65
"""Centre (along the gaze) and radius of the cornea, in eyeball radii."""

_RIM = 0.97
"""Square of the share of the radius beyond which the eyeball is taken for flesh round it."""


class Globe(NamedTuple):
    """An eyeball that looks somewhere.

    Attributes:
        turn: [3, 3] float64 from the eye's own axes, z the gaze, to the camera's.
        radius_mm: of the eyeball.
        iris_mm: radius of the iris.
        centre_x, centre_y: camera mm of its centre from where that is straight ahead.
    """

    turn: NDArray[np.float64]
    radius_mm: float
    iris_mm: float
    centre_x: float
    centre_y: float


def look(eyeball: Eyeball, *, gaze: Gaze, head: NDArray[np.float64]) -> Globe:
    """Turns an eyeball by Listing's law: from straight ahead in the head about one axis.

    Args:
        eyeball: its sizes.
        gaze: relative to the camera.
        head: [3, 3] from head to camera axes.
    """
    x, y, z = head.T @ unit_vectors(gaze.array())
    bend = 1 / (1 + z)
    from_ahead = np.array(
        [
            [1 - bend * x * x, -bend * x * y, x],
            [-bend * x * y, 1 - bend * y * y, y],
            [-x, -y, z],
        ]
    )
    # A globe that turns about a point in front of its centre sinks as it looks up.
    centre_x, centre_y = -eyeball.pivot_mm * y * head[:2, 1]
    return Globe(
        head @ from_ahead, eyeball.radius_mm, eyeball.iris_mm, float(centre_x), float(centre_y)
    )


def iris_way(globe: Globe, *, head: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2] camera (x, y) mm from the iris's place straight ahead in the head to its own, y up.

    Args:
        head: [3, 3] from head to camera axes.
    """
    turned = globe.radius_mm * IRIS_PLANE * (globe.turn[:2, 2] - head[:2, 2])
    return turned + [globe.centre_x, globe.centre_y]


@compiled
def on_iris(globe: Globe, x: float, y: float) -> tuple[float, float, bool]:
    """Where the line of sight through camera (x, y) mm meets the iris's plane.

    Returns:
        The point in the eye's own axes, mm, and whether it lies on the iris.
    """
    t = globe.turn
    x, y = x - globe.centre_x, y - globe.centre_y
    d = globe.radius_mm * IRIS_PLANE
    z = (d - t[0, 2] * x - t[1, 2] * y) / t[2, 2]
    u = t[0, 0] * x + t[1, 0] * y + t[2, 0] * z
    v = t[0, 1] * x + t[1, 1] * y + t[2, 1] * z
    return u, v, u * u + v * v < globe.iris_mm * globe.iris_mm


@compiled
def meets_sphere(globe: Globe, x: float, y: float) -> bool:
    """Whether the line of sight through camera (x, y) mm meets the sphere, and not at its rim."""
    x, y = x - globe.centre_x, y - globe.centre_y
    return x * x + y * y < _RIM * globe.radius_mm * globe.radius_mm


@compiled
def on_sclera(globe: Globe, x: float, y: float) -> tuple[float, float, float]:
    """The point of the sphere seen at camera (x, y) mm, in the eye's own axes.

    Only where `meets_sphere` says so.
    """
    t = globe.turn
    x, y = x - globe.centre_x, y - globe.centre_y
    z = np.sqrt(globe.radius_mm * globe.radius_mm - x * x - y * y)
    return (
        t[0, 0] * x + t[1, 0] * y + t[2, 0] * z,
        t[0, 1] * x + t[1, 1] * y + t[2, 1] * z,
        t[0, 2] * x + t[1, 2] * y + t[2, 2] * z,
    )


@compiled
def seen_at(globe: Globe, u: float, v: float, w: float) -> tuple[float, float, float]:
    """Camera (x, y, depth) mm of a point in the eye's own axes."""
    t = globe.turn
    return (
        globe.centre_x + t[0, 0] * u + t[0, 1] * v + t[0, 2] * w,
        globe.centre_y + t[1, 0] * u + t[1, 1] * v + t[1, 2] * w,
        t[2, 0] * u + t[2, 1] * v + t[2, 2] * w,
    )
