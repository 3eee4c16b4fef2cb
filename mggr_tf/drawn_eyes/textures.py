"""Textures of the eyeball and of the skin.

The parameters and the seed of a person determine the textures. The functions cache the textures of
the last few people.

The skin atlas is an image of the skin at rest, that is at a gaze straight ahead. The axes of the
atlas are the head coordinates x and y. The atlas contains everything on the skin: skin colour,
spots, pores, freckles, dark rings around the eye, make-up and the brow.

Skin colours are computed from two optical densities, one for melanin and one for blood. Melanin and
blood absorb different fractions of red, green and blue light. These two densities are sufficient
for the range of human skin colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.lids import BEYOND, FADE, GRID_MM, LOWER, UPPER, LidCurves, lid_curves
from mggr_tf.drawn_eyes.subject import Eyeball, Hair, Lids, Makeup, Skin, Subject

_FIBRE_ANGLES, _FIBRE_RADII = 256, 32
_VEIN_PX = 160
_VEIN_STEP, _VEIN_BLUR_PX = 0.055, 0.7


@dataclass(frozen=True, eq=False)
class Textures:
    """Textures of the eyeball, with a mean of about 0 and a standard deviation of about 1.

    Attributes:
        veins: [n, n] texture of the veins on the front of the eyeball. The middle of the iris is at
            the centre.
        fibres: [radii, angles] texture of the fibres in the iris. It is periodic in the angle.
    """

    veins: NDArray[np.float32]
    fibres: NDArray[np.float32]


@lru_cache(maxsize=4)
def textures_of(texture_seed: int) -> Textures:
    """Return the textures of a person's eyeball. The function caches its last four results."""
    rng = np.random.default_rng([texture_seed, 2])
    return Textures(veins=_veins(rng), fibres=_iris_fibres(rng))


def _veins(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a texture of curved lines that run from both corners to the iris, with soft spots."""
    count = int(rng.integers(14, 34))
    steps = rng.integers(5, 11, count)
    side = rng.choice([-1.0, 1.0], count)
    # Each line has a slope that changes at random. All steps along a line have the same length.
    rise = rng.normal(0, 0.25, count)[:, None] + np.cumsum(rng.normal(0, 0.35, (count, 10)), axis=1)
    length = np.sqrt(1 + rise**2)
    x = np.zeros((count, 11))
    y = np.zeros((count, 11))
    x[:, 0], y[:, 0] = side * rng.uniform(0.75, 1.1, count), rng.normal(0, 0.22, count)
    x[:, 1:] = x[:, :1] - side[:, None] * np.cumsum(_VEIN_STEP / length, axis=1)
    y[:, 1:] = y[:, :1] + np.cumsum(_VEIN_STEP * rise / length, axis=1)
    middle = (_VEIN_PX - 1) / 2
    paths = np.round(16 * (np.stack([x, -y], axis=-1) + 1) * middle).astype(np.int32)
    canvas = np.zeros((_VEIN_PX, _VEIN_PX), np.uint8)
    for path, number, level in zip(paths, steps, rng.uniform(60, 220, count), strict=True):
        cv2.polylines(canvas, [path[: number + 1]], False, int(level), 1, cv2.LINE_AA, 4)
    lines = cv2.GaussianBlur(canvas.astype(np.float32) / 60, (0, 0), _VEIN_BLUR_PX)
    coarse = rng.standard_normal((9, 9), dtype=np.float32)
    blotches = cv2.resize(coarse, (_VEIN_PX, _VEIN_PX), interpolation=cv2.INTER_CUBIC)
    return (lines + 0.5 * blotches - 0.4).astype(np.float32)


def _iris_fibres(rng: np.random.Generator) -> NDArray[np.float32]:
    # Fibres run along the radius. Therefore the texture changes quickly with the angle, and slowly
    # with the radius.
    fibres = np.zeros((_FIBRE_RADII, _FIBRE_ANGLES), np.float32)
    for angles, radii, weight in ((24, 3, 1.0), (60, 3, 0.8), (12, 6, 0.6)):
        coarse = rng.standard_normal((radii, angles), dtype=np.float32)
        wrapped = np.concatenate([coarse, coarse, coarse], axis=1)
        size = (3 * _FIBRE_ANGLES, _FIBRE_RADII)
        fine = cv2.resize(wrapped, size, interpolation=cv2.INTER_CUBIC)
        fibres += weight * fine[:, _FIBRE_ANGLES : 2 * _FIBRE_ANGLES]
    return ((fibres - fibres.mean()) / fibres.std()).astype(np.float32)


@lru_cache(maxsize=8)
def reflections(texture_seed: int, size_px: int) -> NDArray[np.float32]:
    """Return the reflection of a room in a lens, [n, n] in [0, 1]. The reflection is blurred."""
    rng = np.random.default_rng([texture_seed, 5])
    # Walls and windows have vertical edges. Therefore the reflection has more columns than rows.
    coarse = rng.standard_normal((3, 6), dtype=np.float32)
    room = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.45 + 0.4 * room, 0, 1).astype(np.float32)


X_MM, Y_MM = 36.0, 32.0
"""Extent of the atlas, mm. The atlas covers [-X_MM, X_MM] x [-Y_MM, Y_MM]."""

PX_PER_MM = 3
_BROW_OVERSAMPLING = 2

_MELANIN_ABSORBS = np.array([0.98, 1.20, 1.40], np.float32)
_BLOOD_ABSORBS = np.array([0.20, 0.85, 0.78], np.float32)
_BASE = np.array([0.85, 0.69, 0.52], np.float32)
"""Linear RGB of skin without pigments."""

Plane = NDArray[np.float32]


def skin_colour(skin: Skin) -> NDArray[np.float32]:
    """Return the reflectance [3] of skin without texture, linear RGB."""
    return _BASE * np.exp(-skin.melanin * _MELANIN_ABSORBS - skin.blood * _BLOOD_ABSORBS)


def skin_atlas(subject: Subject) -> NDArray[np.float32]:
    """Return the skin atlas: the reflectance of the skin, [H, W, 3] linear RGB.

    Row 0 is at y = Y_MM, and column 0 is at x = -X_MM.
    """
    return _atlas_of(
        subject.skin,
        subject.lids,
        subject.eyeball,
        subject.hair,
        subject.makeup,
        subject.texture_seed,
    )


@lru_cache(maxsize=4)
def _atlas_of(
    skin: Skin, lids: Lids, eyeball: Eyeball, hair: Hair, makeup: Makeup, texture_seed: int
) -> NDArray[np.float32]:
    rest = lid_curves(lids, eyeball, gaze=Gaze(0, 0), head=np.eye(3))
    rng = np.random.default_rng([texture_seed, 0])
    x, y = _grid()
    above, below = _from_margins(rest, x, y)
    colour = _pigments(skin, rng, np.maximum(np.maximum(above, below), 0))
    _put_on(colour, makeup, rest, x, y)
    brow = brow_cover(hair, rng)[..., None]
    colour += brow * (np.asarray(hair.colour, np.float32) - colour)
    return np.ascontiguousarray(colour, np.float32)


def brow_cover(hair: Hair, rng: np.random.Generator) -> Plane:
    """Return how much the hairs of the brow cover each pixel of the atlas, [H, W] in [0, 1]."""
    scale = PX_PER_MM * _BROW_OVERSAMPLING
    height, width = int(2 * Y_MM * scale), int(2 * X_MM * scale)
    canvas = np.zeros((height, width), np.uint8)
    count = int(750 * hair.brow_density)
    along = rng.uniform(0, 1, count) ** 0.85
    # The roots of the hairs lie between the nose (`along` is 0) and the temple (`along` is 1). The
    # middle line of the brow is an arch that is lower at the temple.
    root_x = 21.0 - 44.0 * along
    middle = hair.brow_height_mm + hair.brow_arch_mm * np.sin(np.pi * (0.12 + 0.9 * (1 - along)))
    spread = hair.brow_thickness_mm * (0.35 + 0.65 * np.sin(np.pi * np.clip(along, 0, 1) ** 0.6))
    root_y = middle + spread * np.clip(rng.normal(0, 0.55, count), -1.2, 1.2)
    lean = np.radians(62 - 66 * along + rng.normal(0, 11, count) - 18 * (root_y - middle))
    length = rng.uniform(4.0, 9.0, count) * (1.0 - 0.3 * along)
    steps = np.linspace(0, 1, 4)[None, :]
    bend = lean[:, None] - 0.5 * steps * (lean[:, None] + 0.25)
    hair_x = root_x[:, None] - length[:, None] * steps * np.cos(bend)
    hair_y = root_y[:, None] + length[:, None] * steps * np.sin(bend)
    points = np.stack([(hair_x + X_MM) * scale, (Y_MM - hair_y) * scale], axis=-1)
    fixed = np.round(points * 16).astype(np.int32)
    level = int(255 * (0.6 + 0.4 * hair.brow_density))
    cv2.polylines(canvas, list(fixed), False, level, 1, cv2.LINE_AA, 4)
    size = (int(2 * X_MM * PX_PER_MM), int(2 * Y_MM * PX_PER_MM))
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


@compiled
def read_atlas(atlas: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """Return the colour of the atlas at (x, y), mm, with bilinear interpolation.

    Positions outside the atlas get the colour of its border.
    """
    px_per_mm = atlas.shape[1] / (2 * X_MM)
    column = min(max((x + X_MM) * px_per_mm - 0.5, 0.0), atlas.shape[1] - 1.001)
    row = min(max((Y_MM - y) * px_per_mm - 0.5, 0.0), atlas.shape[0] - 1.001)
    i, j = int(row), int(column)
    v, u = row - i, column - j
    a, b, c, d = (1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u
    return (
        a * atlas[i, j, 0]
        + b * atlas[i, j + 1, 0]
        + c * atlas[i + 1, j, 0]
        + d * atlas[i + 1, j + 1, 0],
        a * atlas[i, j, 1]
        + b * atlas[i, j + 1, 1]
        + c * atlas[i + 1, j, 1]
        + d * atlas[i + 1, j + 1, 1],
        a * atlas[i, j, 2]
        + b * atlas[i, j + 1, 2]
        + c * atlas[i + 1, j, 2]
        + d * atlas[i + 1, j + 1, 2],
    )


def _grid() -> tuple[Plane, Plane]:
    """Return the positions of the pixel centres in the atlas: x [1, W] and y [H, 1], mm."""
    columns = (np.arange(int(2 * X_MM * PX_PER_MM), dtype=np.float32) + 0.5) / PX_PER_MM - X_MM
    rows = Y_MM - (np.arange(int(2 * Y_MM * PX_PER_MM), dtype=np.float32) + 0.5) / PX_PER_MM
    return columns[None, :], rows[:, None]


def _from_margins(rest: LidCurves, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return the distances from the lids at rest for each pixel of the atlas, [H, W] mm each.

    The first array contains the distance above the edge of the upper lid. The second array contains
    the distance below the edge of the lower lid. Beyond a corner of the eye, both arrays also
    contain 0.3 times the distance from the corner.
    """
    upper = np.interp(x[0], GRID_MM, rest[:, UPPER]).astype(np.float32)
    lower = np.interp(x[0], GRID_MM, rest[:, LOWER]).astype(np.float32)
    beyond = np.interp(x[0], GRID_MM, rest[:, BEYOND]).astype(np.float32)
    return y - upper[None] + 0.3 * beyond[None], lower[None] - y + 0.3 * beyond[None]


def _pigments(skin: Skin, rng: np.random.Generator, away: Plane) -> NDArray[np.float32]:
    near = np.exp(away / np.float32(-5.0))
    ring = np.float32(skin.dark_ring) * near
    mottle = _unit(_noise(rng, 9) + 0.8 * _noise(rng, 18) + 0.4 * _noise(rng, 40))
    flush = _unit(_noise(rng, 7) + 0.5 * _noise(rng, 24))
    pores = _unit(cv2.GaussianBlur(_noise(rng, 0), (0, 0), 0.8))
    melanin = skin.melanin * (1 + 0.30 * ring + skin.mottle * mottle) + 0.45 * ring
    melanin = melanin + skin.pores * 2.5 * pores + _freckles(skin, rng)
    blood = skin.blood * (1 + 0.9 * near + 2 * skin.mottle * flush)
    density = melanin[..., None] * _MELANIN_ABSORBS + blood[..., None] * _BLOOD_ABSORBS
    return _BASE * np.exp(-density)


def _freckles(skin: Skin, rng: np.random.Generator) -> Plane:
    """Return the additional pigment of freckles, [H, W]. Freckles have diameters of 0.5 to 2 mm."""
    shape = (int(2 * Y_MM * PX_PER_MM), int(2 * X_MM * PX_PER_MM))
    spots = np.zeros(shape, np.float32)
    for _ in range(int(skin.freckles)):
        centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        radius = int(rng.choice([1, 1, 2, 2, 3]))
        cv2.circle(spots, centre, radius, float(rng.uniform(0.15, 0.6)), -1, cv2.LINE_AA)
    return spots


def _put_on(
    colour: NDArray[np.float32], makeup: Makeup, rest: LidCurves, x: Plane, y: Plane
) -> None:
    """Blend make-up over `colour`: eye shadow on the upper lid, and a line along both lid edges."""
    if makeup.shadow == 0 and makeup.liner == 0:
        return
    above, below = _from_margins(rest, x, y)
    inside = np.interp(x[0], GRID_MM, rest[:, FADE]).astype(np.float32)[None]
    reach = np.float32(makeup.shadow_mm)
    shadow = np.float32(makeup.shadow) * np.clip(1.2 - above / reach, 0, 1) * (above > -0.5)
    shadow = shadow * np.clip(2 * inside - 0.2, 0, 1) * np.exp(-np.maximum(-y - 3, 0))
    colour += shadow[..., None] * (np.asarray(makeup.shadow_colour, np.float32) - colour)
    line = np.exp(-(((above - 0.4) / np.float32(makeup.liner_mm)) ** 2)) * (inside > 0.25)
    line = np.maximum(
        line, 0.6 * np.exp(-(((below - 0.3) / np.float32(0.5)) ** 2)) * (inside > 0.6)
    )
    ink = (np.float32(makeup.liner) * line)[..., None]
    colour += ink * (np.float32(0.012) - colour)


def _noise(rng: np.random.Generator, cells: int) -> Plane:
    """Return an array of noise with the same size as the atlas.

    Args:
        rng: random generator.
        cells: number of random values across the width of the atlas. The values between them are
            interpolated. With 0, each pixel has its own random value.
    """
    size = (int(2 * X_MM * PX_PER_MM), int(2 * Y_MM * PX_PER_MM))
    if cells == 0:
        return rng.standard_normal((size[1], size[0]), dtype=np.float32)
    coarse = rng.standard_normal((max(2, round(cells * Y_MM / X_MM)), cells), dtype=np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def _unit(field: Plane) -> Plane:
    return ((field - field.mean()) / field.std()).astype(np.float32)
