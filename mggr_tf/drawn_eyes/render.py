"""Render a patch (a small image of one eye), and keep its exact geometry as labels.

The renderer paints the eyeball and the skin first (`paint`), and then the lashes and the glasses
(`accessories`). Finally, the renderer applies the camera model (`globe.develop`). The renderer
paints only right eyes. To render a left eye, it mirrors the arguments, renders a right eye, and
mirrors the image.

Coordinates are defined in `face_geometry`. The margin of a lid is its edge at the eye opening.
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
"""Maximum angles of gaze and head, degrees. At larger angles, the lids would overlap themselves."""

_OUTLINE_POINTS = 25
_LASHES_STAND_MM, _LASH_OPACITY = 0.4, 0.75


@dataclasses.dataclass(frozen=True)
class Crop:
    """Crop of a patch (its position and size in the frame), defined by another image.

    The other image shows the same face.

    A device pastes a redirected patch at the crop position of the original patch. Therefore both
    images of a training pair must have the same crop. Any two images of a group (see `samples`) can
    form a pair, so all images of a group have the same crop.

    Attributes:
        gaze: gaze relative to the camera, in the other image.
        seed: seed of the random crop error.
    """

    gaze: Gaze
    seed: int | Sequence[int]


Margins = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Upper and lower lid margin: [25, 3] points each in head coordinates, mm.

The points run from the outer to the inner corner.
"""


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
    """Render an eye of a person.

    Args:
        subject: person, illumination and camera.
        gaze: gaze relative to the camera, within +-40 degrees.
        head_pose: head pose relative to the camera, within +-40 degrees.
        side: side of the eye, as seen by the subject.
        seed: seed of the camera noise and of the crop error only.
        roll_deg: roll of the head, within +-40 degrees. A positive roll lowers the right side of
            the image.
        closure: closure of the lids. 0 means that the eye is as open as normal for this gaze. 1
            means closed.
        size_px: width and height of the patch, pixels.
        lit: False renders only plain colours, without light, shadows, lashes, glasses and noise.
            The exact flow also ignores these effects.
        crop: crop of the patch. With `None`, the patch is cropped around the eye in this image, as
            on a device.

    Raises:
        ValueError: an angle or the closure is out of range.
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
    """Render the right eye and the region around it, as a part of a larger image.

    Args:
        subject: person, illumination and camera.
        gaze: gaze relative to the camera.
        head_pose: head pose relative to the camera.
        closure: closure of the lids. 0 means that the eye is as open as normal for this gaze. 1
            means closed.
        reach_mm: half of the width of the region, mm.
        px_per_mm: scale of the region, pixels per millimetre.

    Returns:
        (region, outline): `region` is an image [n, n, 3] in linear RGB. The eyeball's centre is in
        the middle of the image. `outline` is the outline [N, 2] of the lids in pixels of this
        image.
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
    """Return the exact backward flow from `target` to `source` for each pixel of `target`.

    Args:
        source: image to sample from.
        target: image to reproduce.
        edges: False skips the search for pixels that mix two materials. In this case, `visible` in
            the result is equal to `seen`.

    Raises:
        ValueError: the images differ in person, side, head pose or size.
    """
    same = (
        source.subject == target.subject
        and source.side == target.side
        and source.head_pose == target.head_pose
        and source.roll_deg == target.roll_deg
        and source.image.shape == target.image.shape
    )
    if not same:
        raise ValueError("the images must have the same person, side, head pose and size")
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
    """Return the material at the centre of each pixel, [H, W], as labels of `flow.label_map`."""
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
    """Return the view of the patch, with a crop similar to the crop on a device.

    The crop moves a little with the iris, and has a small random error.
    """
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
    """Return the position (x, y) of the eyeball's centre in the patch, pixels."""
    x, y = view.eyeball_px
    return x + view.px_per_mm * globe.centre_x, y - view.px_per_mm * globe.centre_y


def _iris_ellipse(globe: Globe, view: View) -> Ellipse:
    """Return the orthographic projection of the iris.

    The iris is a disc perpendicular to the gaze, so its projection is an ellipse.
    """
    right, up, toward = globe.turn[:, 2]
    reach = view.px_per_mm * globe.radius_mm * IRIS_PLANE
    x, y = _centre_px(globe, view)
    major = view.px_per_mm * globe.iris_mm
    # The minor axis of the ellipse points towards the eyeball's centre.
    angle = np.degrees(np.arctan2(-up, right)) + 90
    return Ellipse(
        (float(x + reach * right), float(y - reach * up)),
        float(major),
        float(major * toward),
        float(angle % 180),
    )


def _outline(margins: Margins) -> NDArray[np.float64]:
    """Return the closed outline [N, 3] of the eye opening. It contains each corner only once."""
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
    """Return the painted image, and the occlusion by glasses, [n, n] in [0, 1].

    The occlusion is `None` if the subject has no glasses, or if `lit` is False.
    """
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
    # The distances between points are smaller near the corners, because the curves are steep there.
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
