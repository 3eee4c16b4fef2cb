"""Where the eyes are redirected to: a sweep, then a rest on the camera."""

from __future__ import annotations

import numpy as np

from mggr_edge.geometry.angles import Gaze

_WAY = (
    # seconds, pitch, yaw
    (0.0, 0.0, -15.0),
    (0.3, 0.0, -15.0),
    (3.2, 0.0, 15.0),
    (4.0, 10.0, 0.0),
    (6.0, -10.0, 0.0),
    (6.6, 0.0, 0.0),
    (8.0, 0.0, 0.0),
)
"""Yaw goes from -15 to 15 degrees at pitch 0, pitch from 10 to -10 at yaw 0; then the camera."""

REST_FROM_S = 6.6
"""From here on the target is the camera."""


def target_at(time_s: float) -> Gaze:
    """The target at a time, moving evenly from point to point and staying at the last.

    Example:
        >>> target_at(0.0)
        Gaze(pitch_deg=0.0, yaw_deg=-15.0)
    """
    times, pitches, yaws = zip(*_WAY, strict=True)
    return Gaze(float(np.interp(time_s, times, pitches)), float(np.interp(time_s, times, yaws)))
