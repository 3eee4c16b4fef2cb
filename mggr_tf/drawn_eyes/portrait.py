"""Synthetic frames with a whole face, for test videos and demonstrations.

The regions around both eyes are painted as in patches, and blended at the nose. The rest of the
face is simple, but sufficient for face detectors: an ellipsoid of skin with nose, mouth, hair and
neck, in front of a background.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_tf.drawn_eyes.face_geometry import OVERSAMPLING, View, head_rotation
from mggr_tf.drawn_eyes.globe import develop
from mggr_tf.drawn_eyes.render import draw_region
from mggr_tf.drawn_eyes.sitting import MIDLINE_MM, emitter_rows
from mggr_tf.drawn_eyes.subject import Subject
from mggr_tf.drawn_eyes.textures import skin_colour

_REGION_MM = 36.0
"""Half of the width of the region around an eye, mm. The eyeball is at the centre of the region."""

_FACE_HALF_MM = (71.0, 98.0, 80.0)
_FACE_MIDDLE_MM = np.array([0.0, -22.0, -62.0])
"""Half axes and centre of the head's ellipsoid, mm.

The centre is relative to the midpoint between the eyes.
"""

Picture = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DrawnFace:
    """Frame with one face.

    Attributes:
        image: [H, W, 3] uint8 RGB.
        outlines: outline [N, 2] of the lids of each eye, in pixels of the frame. The keys are the
            sides of the eyes.
    """

    image: NDArray[np.uint8]
    outlines: dict[Side, NDArray[np.float32]]


def draw_face(
    subject: Subject,
    *,
    gaze: Gaze,
    head_pose: Gaze,
    seed: int,
    closure: float = 0.0,
    size_px: tuple[int, int] = (480, 640),
    px_per_mm: float = 2.4,
) -> DrawnFace:
    """Render a person's face in the middle of a frame.

    Args:
        subject: person, illumination and camera.
        gaze: gaze of both eyes, relative to the camera.
        head_pose: head pose relative to the camera. Angles up to +-20 degrees give the best result.
        seed: seed of the camera noise.
        closure: closure of both eyes. 0 means open, 1 means closed.
        size_px: (height, width) of the frame.
        px_per_mm: scale, pixels per millimetre. The distance between the eyes is 62 mm.
    """
    fine = px_per_mm * OVERSAMPLING
    height, width = (side * OVERSAMPLING for side in size_px)
    rotation = head_rotation(head_pose)
    middle = np.array([(width - 1) / 2, 0.42 * height])
    view = View(rotation, fine, (float(middle[0]), float(middle[1])), max(height, width))
    picture = _backdrop(subject, height, width, view)
    _lay_face(picture, subject, view)
    outlines: dict[Side, NDArray[np.float32]] = {}
    sides: tuple[Side, Side] = ("right", "left")
    for side in sides:
        outlines[side] = _lay_eye(picture, subject, view, side, gaze, head_pose, closure)
    _lay_nose(picture, view)
    _lay_mouth(picture, subject, view)
    image = develop(picture, subject, rng=np.random.default_rng(seed))
    return DrawnFace(image, outlines)


def _lay_eye(
    picture: Picture,
    subject: Subject,
    view: View,
    side: Side,
    gaze: Gaze,
    head_pose: Gaze,
    closure: float,
) -> NDArray[np.float32]:
    """Paint the region around one eye over the face.

    Returns:
        [N, 2] outline of the lids in pixels of the frame.
    """
    mirrored = side == "left"
    person = subject.other_eye() if mirrored else subject
    region, outline = draw_region(
        person,
        gaze=gaze.mirrored() if mirrored else gaze,
        head_pose=head_pose.mirrored() if mirrored else head_pose,
        closure=closure,
        reach_mm=_REGION_MM,
        px_per_mm=view.px_per_mm,
    )
    size = region.shape[0]
    if mirrored:
        region = region[:, ::-1]
        outline = np.stack([size - 1 - outline[:, 0], outline[:, 1]], axis=1)
    sign = 1.0 if mirrored else -1.0
    ball = view.project(np.array([[sign * MIDLINE_MM, 0.0, 0.0]]))[0]
    corner = np.round(ball - (size - 1) / 2).astype(int)
    cover = _feather(size, view.px_per_mm, towards_nose=-sign)
    rows, columns = slice(corner[1], corner[1] + size), slice(corner[0], corner[0] + size)
    seen = picture[rows, columns]
    inside = (slice(0, seen.shape[0]), slice(0, seen.shape[1]))
    region = _matched(region[inside], seen, cover[inside])
    seen += cover[inside][..., None] * (region - seen)
    return ((outline + corner + 0.5) / OVERSAMPLING - 0.5).astype(np.float32)


def _matched(region: Picture, seen: Picture, cover: NDArray[np.float32]) -> Picture:
    """Scale the region around an eye to the brightness of the face at the border of the region.

    The original brightness is different, because the region and the face have different shapes.
    """
    rim = ((cover > 0.05) & (cover < 0.6))[..., None]
    gain = (seen * rim).sum((0, 1)) / np.maximum((region * rim).sum((0, 1)), 1e-6)
    return region * gain.astype(np.float32)


def _feather(size: int, px_per_mm: float, *, towards_nose: float) -> NDArray[np.float32]:
    """Return the blend weight [size, size] of the region around an eye.

    The weight decreases towards the border of the region. At the middle of the face, the weight
    also decreases towards the other eye.
    """
    steps = np.abs(np.linspace(-1, 1, size, dtype=np.float32))
    round_ = np.clip((1 - np.hypot(steps[None], steps[:, None])) / 0.45, 0, 1)
    across = towards_nose * (np.arange(size, dtype=np.float32) - (size - 1) / 2) / px_per_mm
    to_middle = np.clip((MIDLINE_MM + 3 - across) / 6, 0, 1)
    cover = round_ * to_middle[None]
    return (cover * cover * (3 - 2 * cover)).astype(np.float32)


def _lay_face(picture: Picture, subject: Subject, view: View) -> None:
    """Paint the face as an ellipsoid of skin, with light, and with hair on its upper part."""
    height, width = picture.shape[:2]
    centre = view.project(_FACE_MIDDLE_MM[None])[0]
    x = (np.arange(width, dtype=np.float32)[None] - centre[0]) / (_FACE_HALF_MM[0] * view.px_per_mm)
    y = (centre[1] - np.arange(height, dtype=np.float32)[:, None]) / (
        _FACE_HALF_MM[1] * view.px_per_mm
    )
    narrow = x * (1 + 0.22 * np.clip(-y, 0, 1) ** 2)  # the face is narrower at the chin
    inside = 1 - narrow * narrow - y * y
    normal_z = np.sqrt(np.maximum(inside, 0.02))
    shade = np.zeros((height, width), np.float32)
    rows = emitter_rows(subject.light)
    for row in rows:
        facing = row[0] * narrow * 0.9 + row[1] * y * 0.7 + row[2] * normal_z
        shade += np.float32(row[11] / rows[:, 11].sum()) * np.maximum((facing + 0.25) / 1.25, 0)
    light = subject.light.ambient + (1 - subject.light.ambient) * shade
    cover = np.clip(inside * 12, 0, 1)[..., None]
    skin = skin_colour(subject.skin) * light[..., None]
    picture += cover * (skin - picture)
    hairline = np.clip((y - 0.74 + 0.35 * x * x) * 14, 0, 1) * np.clip(inside * 12 + 1, 0, 1)
    picture += hairline[..., None] * (_hair(subject) - picture)


def _backdrop(subject: Subject, height: int, width: int, view: View) -> Picture:
    """Return an image of everything behind the face: a wall, shoulders, neck and hair."""
    rng = np.random.default_rng([subject.texture_seed, 7])
    wall, cloth = rng.uniform(0.08, 0.5, 3), rng.uniform(0.02, 0.4, 3)
    fall = np.linspace(1.1, 0.7, height, dtype=np.float32)[:, None, None]
    picture = np.ascontiguousarray(np.broadcast_to(wall * fall, (height, width, 3)), np.float32)

    def ellipse(
        centre_mm: tuple[float, float], half_mm: tuple[float, float], colour: NDArray
    ) -> None:
        place = view.project(np.array([[*centre_mm, -60.0]]))[0]
        axes = tuple(int(h * view.px_per_mm) for h in half_mm)
        cover = np.zeros((height, width), np.uint8)
        cv2.ellipse(cover, (int(place[0]), int(place[1])), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        share = cover.astype(np.float32)[..., None] / np.float32(255)
        picture[...] += share * (np.asarray(colour, np.float32) - picture)

    ellipse((0, -230), (190, 95), cloth)
    ellipse((0, -125), (48, 75), skin_colour(subject.skin) * 0.45)
    ellipse((0, 2), (84, 96), _hair(subject))
    return picture


def _lay_nose(picture: Picture, view: View) -> None:
    """Paint the nose: a bright ridge, dark areas at its sides and below it, and two nostrils."""
    for x, y, z, half_x, half_y, gain in (
        (0, -14, 22, 5, 22, 0.10),
        (0, -37, 32, 8, 7, 0.14),
        (-13, -38, 18, 5, 9, -0.22),
        (13, -38, 18, 5, 9, -0.22),
        (0, -48, 20, 16, 4, -0.35),
        (-7, -45, 24, 3.2, 2.2, -0.75),
        (7, -45, 24, 3.2, 2.2, -0.75),
    ):
        _dapple(picture, view, (x, y, z), (half_x, half_y), np.full(3, 1 + gain))


def _lay_mouth(picture: Picture, subject: Subject, view: View) -> None:
    red = np.array([0.95, 0.62, 0.64])
    _dapple(picture, view, (0, -68, 14), (22, 4.5), red * 0.92)
    _dapple(picture, view, (0, -76, 14), (18, 5.5), red)
    _dapple(picture, view, (0, -71.5, 14), (23, 1.6), np.full(3, 0.35))
    _dapple(picture, view, (0, -87, 8), (16, 4), np.full(3, 0.82))


def _dapple(
    picture: Picture,
    view: View,
    place_mm: tuple[float, float, float],
    half_mm: tuple[float, float],
    gain: NDArray,
) -> None:
    """Multiply the light in an ellipse by `gain`. The ellipse has soft edges.

    Args:
        picture: [H, W, 3] image in linear RGB. The function changes this array.
        view: view of the image.
        place_mm: centre (x, y, z) of the ellipse in head coordinates, mm.
        half_mm: half axes of the ellipse, mm.
        gain: [3] factor for red, green and blue at the centre of the ellipse.
    """
    x0, y0 = view.project(np.array([place_mm]))[0]
    x = (np.arange(picture.shape[1], dtype=np.float32) - x0) / (half_mm[0] * view.px_per_mm)
    y = (np.arange(picture.shape[0], dtype=np.float32) - y0) / (half_mm[1] * view.px_per_mm)
    bump = np.exp(-((x[None] ** 2 + y[:, None] ** 2) ** 1.5))
    picture *= 1 + bump[..., None] * (np.asarray(gain, np.float32) - 1)


def _hair(subject: Subject) -> NDArray[np.float32]:
    return 0.8 * np.asarray(subject.hair.colour, np.float32)
