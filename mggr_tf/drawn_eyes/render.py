"""Draws one eye patch, and knows where everything in it is.

Layers, from back to front: eyeball and skin (`paint`), lashes (`lashes`), glasses (`eyewear`);
then the camera (`camera`). The right eye is drawn; a left one is its mirror image, so
mirrored calls give mirrored pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_tf.drawn_eyes.accessories import lash_cover, put_glasses_on
from mggr_tf.drawn_eyes.face_geometry import OVERSAMPLING, Face, View, face_heights, lay_crop
from mggr_tf.drawn_eyes.flow import DrawnFrame, ExactFlow, Head, Sight, exact_flow, label_map
from mggr_tf.drawn_eyes.globe import IRIS_PLANE, Globe, develop, iris_way, look
from mggr_tf.drawn_eyes.lids import (
    GRID_MM,
    LOWER,
    UPPER,
    UPPER_REST,
    LidCurves,
    SidewaysSlide,
    lid_curves,
    lid_slide,
)
from mggr_tf.drawn_eyes.look import lay_over, look_of
from mggr_tf.drawn_eyes.paint import paint
from mggr_tf.drawn_eyes.rendered import Ellipse, RenderedEye, hidden_share, sixteen_points
from mggr_tf.drawn_eyes.sitting import Sitting, sitting_of
from mggr_tf.drawn_eyes.subject import Subject
from mggr_tf.drawn_eyes.textures import textures_of

MAX_GAZE_DEG = 40.0
MAX_HEAD_DEG = 40.0
"""Beyond these the lids would fold over themselves."""

_OUTLINE_POINTS = 25
_LASHES_STAND_MM, _LASH_OPACITY = 0.4, 0.75


@dataclasses.dataclass(frozen=True)
class Crop:
    """Where a patch is cut: as a device would crop another picture of the same face.

    A redirected picture is put back where its source was cut, so that pictures of a group, of
    which any may be source or target, have to share one crop.

    Attributes:
        gaze: of the picture that is cropped, relative to the camera.
        seed: of what the crop misses by.
    """

    gaze: Gaze
    seed: int | Sequence[int]


Margins = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Upper and lower margin, [25, 3] head points each, from the outer to the inner corner."""


def render_eye(
    subject: Subject,
    *,
    gaze: Gaze,
    head_pose: Gaze,
    side: Side,
    seed: int | Sequence[int],
    roll_deg: float = 0.0,
    closure: float = 0.0,
    size_px: int = DEFAULT_SIZE_PX,
    lit: bool = True,
    crop: Crop | None = None,
) -> RenderedEye:
    """Draws a person's eye.

    Args:
        subject: who.
        gaze, head_pose: relative to the camera, within +-40 degrees.
        side: the subject's own; the left eye comes out as the right one mirrored.
        seed: of the camera's noise and of where it cropped, alone.
        roll_deg: by which the head leans, within +-40 degrees; + lowers the image's right.
        closure: 0 as open as the gaze has it, 1 closed.
        size_px: side of the patch.
        lit: False draws the bare colours: no light, shadow, lash, glass or noise. What is left
            are material points, which exact flow carries from picture to picture.
        crop: where the patch is cut; None: as a device crops this picture.

    Raises:
        ValueError: an angle or the closure out of range.
    """
    _check("gaze", gaze, MAX_GAZE_DEG)
    _check("head pose", head_pose, MAX_HEAD_DEG)
    if abs(roll_deg) > MAX_HEAD_DEG:
        raise ValueError(f"roll must lie within +-{MAX_HEAD_DEG:g} degrees, got {roll_deg}")
    if not 0 <= closure <= 1:
        raise ValueError(f"closure must lie in [0, 1], got {closure}")
    if side == "left":
        twin = render_eye(
            subject,
            gaze=gaze.mirrored(),
            head_pose=head_pose.mirrored(),
            side="right",
            seed=seed,
            roll_deg=-roll_deg,
            closure=closure,
            size_px=size_px,
            lit=lit,
            crop=None if crop is None else Crop(crop.gaze.mirrored(), crop.seed),
        )
        return twin.mirrored()

    rng = np.random.default_rng(seed)
    sitting = sitting_of(subject, head_pose, roll_deg)
    curves, slide, globe, margins = _set_up(subject, sitting, gaze, closure)
    outline_mm = _outline(margins)
    if crop is None:
        view = _cropped(subject, sitting, outline_mm, globe, rng=rng, size_px=size_px)
    else:
        _, _, other_globe, other_margins = _set_up(subject, sitting, crop.gaze, closure)
        view = _cropped(
            subject,
            sitting,
            _outline(other_margins),
            other_globe,
            rng=np.random.default_rng(crop.seed),
            size_px=size_px,
        )
    ball, centre_px = subject.eyeball, _centre_px(globe, view)
    moment = DrawnFrame(Sight(view.px_per_mm, *view.eyeball_px), curves, slide, globe)
    fine = view.fine()
    linear, hidden = _painted(subject, sitting, fine, moment, margins, lit=lit)
    return RenderedEye(
        image=develop(linear, subject if lit else _plain_camera(subject), rng=rng),
        subject=subject,
        gaze=gaze,
        head_pose=head_pose,
        roll_deg=roll_deg,
        side=side,
        closure=closure,
        outline=view.project(outline_mm).astype(np.float32),
        iris=_iris_ellipse(globe, view),
        eyeball_centre=centre_px,
        eyeball_radius_px=ball.radius_mm * view.px_per_mm,
        openness=_openness(*margins),
        occlusion=hidden_share(
            sixteen_points(fine.project(outline_mm).astype(np.float32)),
            Sight(fine.px_per_mm, *fine.eyeball_px),
            size_px=fine.size_px,
            nose=sitting.nose,
            by_glasses=hidden,
        ),
        moment=moment,
    )


def draw_region(
    subject: Subject,
    *,
    gaze: Gaze,
    head_pose: Gaze,
    closure: float,
    reach_mm: float,
    px_per_mm: float,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The right eye and what is round it, in linear light, for a larger picture.

    Returns:
        [n, n, 3] linear RGB with the eyeball's centre in its middle, and the lids' outline
        [N, 2] in its pixels.
    """
    sitting = sitting_of(subject, head_pose)
    curves, slide, globe, margins = _set_up(subject, sitting, gaze, closure)
    size_px = 2 * OVERSAMPLING * round(reach_mm * px_per_mm / OVERSAMPLING)
    middle = (size_px - 1) / 2
    view = View(sitting.rotation, px_per_mm, (middle, middle), size_px)
    moment = DrawnFrame(Sight(px_per_mm, middle, middle), curves, slide, globe)
    linear, _ = _painted(subject, sitting, view, moment, margins, lit=True)
    return linear, view.project(_outline(margins))


def flow_between(source: RenderedEye, target: RenderedEye, *, edges: bool = True) -> ExactFlow:
    """Flow that reads `target` out of `source`: true at every pixel, as the renderer knows it.

    Args:
        edges: False spares finding where pixels mix materials; `visible` is `seen` then.

    Raises:
        ValueError: they are not pictures of one person, side, head pose and size.
    """
    same = (
        source.subject == target.subject
        and source.side == target.side
        and source.head_pose == target.head_pose
        and source.roll_deg == target.roll_deg
        and source.image.shape == target.image.shape
    )
    if not same:
        raise ValueError("flow joins pictures of one person, side, head pose and size")
    sitting = _sitting_of(target)
    found = exact_flow(
        target.moment,
        source.moment,
        head=Head(sitting.face, sitting.rotation, sitting.nose),
        size_px=target.image.shape[0],
        edges=edges,
    )
    if target.side == "right":
        return found
    return ExactFlow(
        np.ascontiguousarray(found.flow[:, ::-1] * np.array([-1, 1], np.float32)),
        np.ascontiguousarray(found.seen[:, ::-1]),
        np.ascontiguousarray(found.visible[:, ::-1]),
    )


def label_eye(eye: RenderedEye) -> NDArray[np.int8]:
    """[H, W] what each pixel shows, see `flow.label_map`."""
    sitting = _sitting_of(eye)
    labels = label_map(
        eye.moment,
        head=Head(sitting.face, sitting.rotation, sitting.nose),
        size_px=eye.image.shape[0],
    )
    return labels if eye.side == "right" else np.ascontiguousarray(labels[:, ::-1])


def _sitting_of(eye: RenderedEye) -> Sitting:
    if eye.side == "right":
        return sitting_of(eye.subject, eye.head_pose, eye.roll_deg)
    return sitting_of(eye.subject, eye.head_pose.mirrored(), -eye.roll_deg)


def _cropped(
    subject: Subject,
    sitting: Sitting,
    outline_mm: NDArray[np.float64],
    globe: Globe,
    *,
    rng: np.random.Generator,
    size_px: int,
) -> View:
    """The patch that a device cuts of this eye, which follows the iris and misses by a little."""
    camera = subject.camera
    missed = np.asarray(camera.shift_px) + camera.jitter_px * rng.standard_normal(2)
    return lay_crop(
        outline_mm,
        rotation=sitting.rotation,
        zoom=camera.zoom * float(np.exp(camera.zoom_jitter * rng.standard_normal())),
        moved_mm=np.asarray(camera.follow) * iris_way(globe, head=sitting.rotation),
        shift_px=missed,
        size_px=size_px,
    )


def _set_up(
    subject: Subject, sitting: Sitting, gaze: Gaze, closure: float
) -> tuple[LidCurves, SidewaysSlide, Globe, Margins]:
    ball, lids = subject.eyeball, subject.lids
    curves = lid_curves(lids, ball, gaze=gaze, head=sitting.rotation, closure=closure)
    slide = lid_slide(lids, ball, gaze=gaze, head=sitting.rotation)
    globe = look(ball, gaze=gaze, head=sitting.rotation)
    return curves, slide, globe, _margins_mm(curves, slide, subject, sitting.face)


def _centre_px(globe: Globe, view: View) -> tuple[float, float]:
    """(x, y) of the eyeball's centre in the patch."""
    x, y = view.eyeball_px
    return x + view.px_per_mm * globe.centre_x, y - view.px_per_mm * globe.centre_y


def _iris_ellipse(globe: Globe, view: View) -> Ellipse:
    """A disc of the iris's size across the gaze, seen from far away."""
    right, up, toward = globe.turn[:, 2]
    reach = view.px_per_mm * globe.radius_mm * IRIS_PLANE
    x, y = _centre_px(globe, view)
    major = view.px_per_mm * globe.iris_mm
    # It is shortened along its way from the eyeball's centre.
    angle = np.degrees(np.arctan2(-up, right)) + 90
    return Ellipse(
        (float(x + reach * right), float(y - reach * up)),
        float(major),
        float(major * toward),
        float(angle % 180),
    )


def _outline(margins: Margins) -> NDArray[np.float64]:
    """[N, 3] closed round the opening, each corner once."""
    upper, lower = margins
    return np.concatenate([upper, lower[-2:0:-1]])


def _painted(
    subject: Subject,
    sitting: Sitting,
    view: View,
    moment: DrawnFrame,
    margins: Margins,
    *,
    lit: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The picture, and how much of it glasses hide, [n, n] in [0, 1]; None without any."""
    fine = moment._replace(sight=Sight(view.px_per_mm, *view.eyeball_px))
    look = look_of(subject, textures_of(subject.texture_seed), lit=lit)
    picture = paint(sitting, fine, look, view.size_px)
    if not lit:
        return picture, None
    upper, lower = (m + [0, 0, _LASHES_STAND_MM] for m in margins)
    curves = moment.curves
    rise_mm = float(np.max(curves[:, UPPER]) - np.max(curves[:, UPPER_REST]))
    cover = lash_cover(
        subject.hair, upper, lower, view, rise_mm=rise_mm, texture_seed=subject.texture_seed
    )
    lay_over(picture, cover, _LASH_OPACITY, *subject.hair.lash_colour)
    if subject.glasses is None:
        return picture, None
    hidden = put_glasses_on(
        picture,
        subject.glasses,
        view,
        brightness=sitting.nose_light,
        texture_seed=subject.texture_seed,
    )
    return picture, hidden


def _plain_camera(subject: Subject) -> Subject:
    plain = dataclasses.replace(subject.camera, blur_px=0.0, noise=0.0, resolution=1.0, jpeg=0)
    return dataclasses.replace(subject, camera=plain)


def _margins_mm(curves: LidCurves, slide: SidewaysSlide, subject: Subject, face: Face) -> Margins:
    lids = subject.lids
    # Denser at the corners, where the curves are steep.
    t = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, _OUTLINE_POINTS))
    x = lids.nasal_mm + lids.width_mm * (t - 0.5)

    margins = np.empty((2, _OUTLINE_POINTS, 3))
    margins[..., 0] = x + slide.mm
    margins[0, :, 1] = np.interp(x, GRID_MM, curves[:, UPPER])
    margins[1, :, 1] = np.interp(x, GRID_MM, curves[:, LOWER])
    face_heights(face, margins[..., 0], margins[..., 1], margins[..., 2])
    return margins[0], margins[1]


def _openness(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    gap = np.max(upper[:, 1] - lower[:, 1])
    return float(gap / np.linalg.norm(upper[0] - upper[-1]))


def _check(what: str, direction: Gaze, limit_deg: float) -> None:
    if max(abs(direction.pitch_deg), abs(direction.yaw_deg)) > limit_deg:
        raise ValueError(f"{what} must lie within +-{limit_deg:g} degrees, got {direction}")
