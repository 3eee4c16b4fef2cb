"""Draws one eye patch.

Layers, from back to front: skin (`skin`), brow (`hair`), eyeball through the
opening (`eyeball`, `lids`), lashes (`hair`), the nose's side when it stands in
the way (`skin`); then the camera (`camera`). The right eye is drawn; a left
one is its mirror image, so mirrored calls give mirrored pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import Gaze, Side
from mggr_edge.contract import DEFAULT_SIZE_PX
from mggr_edge.eyecrop import mirror_image
from mggr_tf.data.synthetic.camera import develop
from mggr_tf.data.synthetic.eyeball import iris_centre_px, paint_eyeball
from mggr_tf.data.synthetic.hair import brow_cover, lash_cover, lash_line_cover
from mggr_tf.data.synthetic.layout import OVERSAMPLING, View, lay_crop
from mggr_tf.data.synthetic.lids import (
    Margins,
    Opening,
    lid_rises_mm,
    margins_at,
    see_opening,
)
from mggr_tf.data.synthetic.skin import nose_cover, paint_nose, paint_skin
from mggr_tf.data.synthetic.subject import Subject
from mggr_tf.data.synthetic.textures import textures_of

MAX_GAZE_DEG = 40.0
MAX_HEAD_DEG = 40.0
"""Beyond these the lids would fold over themselves."""


@dataclass(frozen=True)
class RenderedEye:
    """A patch and what is known of it. Points are patch pixels (x, y), as drawn in `image`.

    Attributes:
        image: [size, size, 3] uint8 RGB, as photographed: nothing mirrored.
        gaze: relative to the camera.
        head_pose: relative to the camera.
        side: the subject's own.
        outline: [N, 2] corners and lids at this gaze.
        iris_centre: where the iris's centre is, hidden or not.
        eyeball_centre: where the eyeball's centre is.
        eyeball_radius_px: its radius.
        openness: largest gap between the lids as a share of the corners' distance.
    """

    image: NDArray[np.uint8]
    gaze: Gaze
    head_pose: Gaze
    side: Side
    outline: NDArray[np.float32]
    iris_centre: tuple[float, float]
    eyeball_centre: tuple[float, float]
    eyeball_radius_px: float
    openness: float


def render_eye(
    subject: Subject,
    *,
    gaze: Gaze,
    head_pose: Gaze,
    side: Side,
    size_px: int = DEFAULT_SIZE_PX,
    seed: int | Sequence[int],
) -> RenderedEye:
    """Draws a person's eye.

    Args:
        subject: who.
        gaze, head_pose: relative to the camera, within +-40 degrees.
        side: the subject's own; the left eye comes out as the right one mirrored.
        size_px: side of the patch.
        seed: of the camera's noise alone.

    Raises:
        ValueError: an angle out of range.
    """
    _check("gaze", gaze, MAX_GAZE_DEG)
    _check("head pose", head_pose, MAX_HEAD_DEG)
    if side == "left":
        twin = render_eye(
            subject,
            gaze=gaze.mirrored(),
            head_pose=head_pose.mirrored(),
            side="right",
            size_px=size_px,
            seed=seed,
        )
        return _mirrored(twin)

    lids, eyeball = subject.lids, subject.eyeball
    rise_mm, lower_rise_mm = map(float, lid_rises_mm(lids, eyeball, gaze=gaze, head_pose=head_pose))
    margins = margins_at(lids, rise_mm=rise_mm, lower_rise_mm=lower_rise_mm)
    neutral = margins_at(lids).outline()
    view = lay_crop(neutral, head_pose=head_pose, camera=subject.camera, size_px=size_px)
    opening = see_opening(margins, view, rise_mm=rise_mm)
    linear = _paint(subject, view, margins, opening, gaze=gaze)

    outline = view.patch_points(view.project(margins.outline()))
    iris_x, iris_y = view.patch_points(iris_centre_px(eyeball, view, gaze=gaze))
    ball_x, ball_y = view.patch_points(np.asarray(view.eyeball_px))
    return RenderedEye(
        image=develop(linear, subject, rng=np.random.default_rng(seed)),
        gaze=gaze,
        head_pose=head_pose,
        side=side,
        outline=outline.astype(np.float32),
        iris_centre=(float(iris_x), float(iris_y)),
        eyeball_centre=(float(ball_x), float(ball_y)),
        eyeball_radius_px=eyeball.radius_mm * view.px_per_mm / OVERSAMPLING,
        openness=_openness(margins),
    )


def _paint(
    subject: Subject, view: View, margins: Margins, opening: Opening, *, gaze: Gaze
) -> NDArray[np.float32]:
    textures = textures_of(subject.texture_seed, view.size_px)
    picture = paint_skin(subject, view, opening, textures=textures)
    _hide(picture, brow_cover(subject.hair, view, textures=textures), subject.hair.colour)

    window, ball = paint_eyeball(subject, view, opening, gaze=gaze, textures=textures)
    seen = picture[:, window[0], window[1]]
    seen += opening.cover[window] * (ball - seen)

    _hide(picture, _lashes(subject, view, margins, opening), subject.hair.lash_colour)
    hidden = nose_cover(subject, view)
    if hidden.any():
        picture += hidden * (paint_nose(subject, view) - picture)
    return picture


def _lashes(
    subject: Subject, view: View, margins: Margins, opening: Opening
) -> NDArray[np.float32]:
    hair = subject.hair
    single = lash_cover(
        hair, margins, view, rise_mm=opening.rise_mm, texture_seed=subject.texture_seed
    )
    bare: NDArray[np.float32] = (1 - lash_line_cover(hair, opening)) * (1 - 0.75 * single)
    return 1 - bare


def _hide(
    picture: NDArray[np.float32], cover: NDArray[np.float32], colour: Sequence[float]
) -> None:
    for plane, value in zip(picture, colour, strict=True):
        plane += cover * (np.float32(value) - plane)


def _openness(margins: Margins) -> float:
    gap = np.max(margins.upper[:, 1] - margins.lower[:, 1])
    return float(gap / np.linalg.norm(margins.upper[0] - margins.upper[-1]))


def _check(what: str, direction: Gaze, limit_deg: float) -> None:
    if max(abs(direction.pitch_deg), abs(direction.yaw_deg)) > limit_deg:
        raise ValueError(f"{what} must lie within +-{limit_deg:g} degrees, got {direction}")


def _mirrored(eye: RenderedEye) -> RenderedEye:
    last = eye.image.shape[1] - 1
    outline = eye.outline.copy()
    outline[:, 0] = last - outline[:, 0]
    return dataclasses.replace(
        eye,
        image=mirror_image(eye.image),
        gaze=eye.gaze.mirrored(),
        head_pose=eye.head_pose.mirrored(),
        side="left",
        outline=outline,
        iris_centre=(last - eye.iris_centre[0], eye.iris_centre[1]),
        eyeball_centre=(last - eye.eyeball_centre[0], eye.eyeball_centre[1]),
    )
