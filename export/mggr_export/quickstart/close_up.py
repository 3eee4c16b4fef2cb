"""The eyes close up, and held still: the clip's own motion is known, and is taken back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_export.quickstart.portrait import pose_at

Picture = NDArray[np.uint8]

SIZE_PX = (160, 480)
"""(height, width)."""

_EYES_MIDDLE = (224.5, 103.0)
"""Between her eyes, (x, y) in the photograph."""

_ZOOM = 6.0
"""Pixels per pixel of the photograph; the clip has 3.6 to 4.3 of them."""


def close_up(frame: Picture, time_s: float) -> Picture:
    """Both eyes of one frame of the portrait clip, always at the same place.

    Args:
        frame: of the clip, before or after.
        time_s: its time.

    Returns:
        [160, 480, 3] uint8.
    """
    height, width = SIZE_PX
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    view_from_photo = np.hstack(
        [_ZOOM * np.eye(2), (centre - _ZOOM * np.asarray(_EYES_MIDDLE))[:, None]]
    )
    photo_from_frame = cv2.invertAffineTransform(pose_at(time_s).frame_from_photo())
    view_from_frame = view_from_photo @ np.vstack([photo_from_frame, [0.0, 0.0, 1.0]])
    return cv2.warpAffine(frame, view_from_frame, (width, height), flags=cv2.INTER_CUBIC)
