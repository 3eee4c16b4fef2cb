"""From the faces of a photograph to eye patches: no files, no clock.

The eyes are those that the device finds, and the square is the device's own
(`Eye.crop_outline` in `crop_of_eye`), so that training sees what the device
will see. With one difference: nothing is rotated. A gaze label is (up, right)
in the picture as it was taken, and stays so only in a patch whose axes are the
picture's. The patches of the Columbia data set in circulation are upright too.
A gaze into the lens, (0, 0), is the same in all axes: crops of such eyes can be
levelled, rotated with the eye exactly as a device rotates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import EyeCrop, crop_of_eye, crop_patch
from mggr_edge.vision.face_finder import Face
from mggr_edge.vision.iris import Eye
from mggr_tf.data.eyeless import eyeless_reason

_MOST_ENLARGED = 2.0
"""A patch enlarged further has no iris that anybody could learn from."""


@dataclass(frozen=True)
class CutEye:
    """A patch that was cut.

    Attributes:
        face: which face of the photograph, from 0, the largest first.
        side: the subject's own.
        head: where the face points, by its mesh, in the axes of the patch.
        patch: [64, 64, 3] uint8 RGB; upright, or rotated with the eye.
    """

    face: int
    side: Side
    head: Gaze
    patch: NDArray[np.uint8]


@dataclass(frozen=True)
class NotCut:
    """What was found and is no patch, and why."""

    what: str
    reason: str


def upright_crop(eye: Eye) -> EyeCrop:
    """The device's square around an eye, not rotated."""
    return replace(crop_of_eye(eye.crop_outline, corners=eye.crop_corners), roll_deg=0.0)


def level_crop(eye: Eye) -> EyeCrop:
    """The device's square around an eye, rotated so that the eye's corners are level."""
    return crop_of_eye(eye.crop_outline, corners=eye.crop_corners, side=eye.side)


def by_size(faces: Sequence[Face]) -> list[Face]:
    """Faces, those whose eyes are farthest apart first."""
    return sorted(faces, key=lambda face: -_apart_px(face))


def cut_eyes(
    frame: NDArray[np.uint8], faces: Sequence[Face], *, level: bool = False
) -> tuple[list[CutEye], list[NotCut]]:
    """Cuts both eyes of every face.

    Args:
        frame: [H, W, 3] uint8 RGB.
        faces: in the order in which they shall be numbered.
        level: rotate each square with its eye, as a device does; the head pose is then given in
            the axes of that square. Only for eyes that look into the lens.

    Returns:
        The patches, and the eyes that cannot be used: too small, or with nothing in
        the patch that could be an eye.
    """
    cut: list[CutEye] = []
    not_cut: list[NotCut] = []
    for number, face in enumerate(faces):
        for eye in face.eyes:
            crop = level_crop(eye) if level else upright_crop(eye)
            patch = crop_patch(frame, crop)
            head = face.head_pose.rolled(crop.roll_deg) if level else face.head_pose
            reason = _unusable(crop, patch)
            if reason is None:
                cut.append(CutEye(number, eye.side, head, patch))
            else:
                not_cut.append(NotCut(f"face {number + 1}, {eye.side} eye", reason))
    return cut, not_cut


def _unusable(crop: EyeCrop, patch: NDArray[np.uint8]) -> str | None:
    least_px = crop.size_px / _MOST_ENLARGED
    if crop.width_px < least_px:
        return f"too small: a square of {crop.width_px:.0f} pixels, expected {least_px:.0f} or more"
    return eyeless_reason(patch)


def _apart_px(face: Face) -> float:
    right, left = (np.asarray(eye.iris_centre) for eye in face.eyes)
    return float(np.linalg.norm(left - right))
