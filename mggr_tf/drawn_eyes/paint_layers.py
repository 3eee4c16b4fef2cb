"""Paint the skin, the lash line and the eyeball of a single pixel.

The lash line is the dark line at the roots of the lashes. The atlas is a texture of the skin at
rest; see `textures`. The plate and the other sheets of skin are defined in `lids`.
"""

from __future__ import annotations

import numpy as np

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face_geometry import smooth_step
from mggr_tf.drawn_eyes.globe import (
    CORNEA_CENTRE,
    CORNEA_RADIUS,
    Bulge,
    Globe,
    bulge_slope,
    intersects_sphere,
    on_iris,
    on_sclera,
)
from mggr_tf.drawn_eyes.lids import (
    BEYOND,
    CARUNCLE,
    FADE,
    FOLD,
    PLATE,
    UPPER,
    UPPER_REST,
    LidCurves,
    SidewaysSlide,
    at,
    material_at,
    share_of_slide,
    unslide_sideways,
)
from mggr_tf.drawn_eyes.look import Look
from mggr_tf.drawn_eyes.sitting import DIRECT, HOLLOW, SHADOW, SLOPE, X, Y
from mggr_tf.drawn_eyes.textures import read_atlas

_FROM_ABOVE = 0.6
"""Decrease of the ambient light if the upward slope of the surface increases by 1, as a fraction.

In rooms and outdoors, most ambient light comes from above.
"""


@compiled
def paint_skin(
    curves: LidCurves,
    slide: SidewaysSlide,
    place: tuple[int, float],
    atlas: np.ndarray,
    met: np.ndarray,
    above: float,
    below: float,
    look: Look,
    bulge: Bulge,
    colour: np.ndarray,
) -> None:
    """Compute the colour of the skin at a pixel, including light and shadow.

    Args:
        curves: edges of the lids.
        slide: sideways displacement of the lids.
        place: row of `LidCurves` for the pixel, as returned by `column_of`.
        atlas: texture of the skin.
        met: point of the face that the pixel shows, and the light at this point, from `read_grid`.
        above: distance of the pixel above the upper margin, mm.
        below: distance of the pixel below the lower margin, mm.
        look: appearance parameters.
        bulge: bulge of the lids over the cornea.
        colour: [3] output array for the colour, linear RGB.
    """
    # The centre of a pixel at the margin may lie in the opening, although the pixel shows skin.
    # Such a pixel gets the colour of the skin at the margin.
    y = met[Y] - min(above, 0.0) if above > below else met[Y] + min(below, 0.0)
    sheet, material = material_at(curves, place, y)
    rest_y = material
    if sheet == PLATE:
        # The plate has the colours of the lid at rest. The factor of 0.5 stretches the texture.
        # Without this factor, a plate that is visible over a large height would show the brow.
        rest_y = at(curves, place, UPPER_REST) + 0.5 * material
    rest_x = unslide_sideways(slide, met[X], share_of_slide(slide, sheet, material))
    red, green, blue = read_atlas(atlas, rest_x, rest_y)
    shade, gloss = 1.0, 0.0
    if look.lit > 0:
        shade = _shade_of_skin(curves, place, met, above, below, look, bulge)
        gloss = look.shine * smooth_step(shade, 0.6, 1.15)
    colour[0] = red * shade + gloss
    colour[1] = green * shade + gloss
    colour[2] = blue * shade + gloss


@compiled
def _shade_of_skin(
    curves: LidCurves,
    place: tuple[int, float],
    met: np.ndarray,
    above: float,
    below: float,
    look: Look,
    bulge: Bulge,
) -> float:
    fade = at(curves, place, FADE)
    slope, groove = 0.0, 0.0
    over_cornea = bulge_slope(bulge, met[X], met[Y])
    if above > below:
        # Add the groove where the plate slides under the fold, and the bulge of skin above it.
        plate = at(curves, place, FOLD) - at(curves, place, UPPER)
        past = above - plate
        over_cornea *= 1 - smooth_step(past, 0.0, 2.5)  # The skin above the fold lies on the brow.
        # If a larger part of the plate is visible, the fold is flatter.
        depth = look.crease_depth * fade / (1 + 0.15 * plate)
        groove = depth * _bump(past / 1.1)
        slope = depth * (2.6 * _tilt(past / 1.1) + 1.2 * _bump((past - 0.35) / 0.55))
    else:
        bag = 0.9 * _tilt((below - 4.5) / 4.8) - 0.3 * _tilt((below - 8.0) / 2.8)
        slope = fade * look.bag_mm * bag
    slope += over_cornea
    direct = max(met[DIRECT] - met[SLOPE] * min(max(slope, -1.2), 1.2), 0.0)
    ambient = look.ambient * (1 - _FROM_ABOVE * over_cornea)
    shade = (ambient + (1 - look.ambient) * direct * met[SHADOW]) * met[HOLLOW]
    away = max(max(above, below) + 0.3 * at(curves, place, BEYOND), 0.0)
    near = max(1 - away / 4.8, 0.0)
    hollow = 0.4 if above > below else 0.1
    return shade * (1 - hollow * near * near * near) * (1 - 0.4 * groove)


@compiled
def _bump(t: float) -> float:
    """Return a smooth, bell-shaped function of t. It is 1 at t = 0, and 0 for |t| >= 1."""
    s = max(1 - t * t, 0.0)
    return s * s


@compiled
def _tilt(t: float) -> float:
    """Return a smooth odd function of t. The function has the shape of the slope of a bump.

    The result has the sign of t. The magnitude of the result is at most 0.5, and 0 for |t| >= 1.
    """
    s = max(1 - t * t, 0.0)
    return 1.75 * t * s * s


@compiled
def paint_lash_line(
    along: float, above: float, below: float, look: Look, colour: np.ndarray
) -> None:
    """Blend the lash line over the colour of a pixel.

    Args:
        along: position between the corners: 0 at the outer corner, 1 at the inner corner.
        above: distance of the pixel above the upper margin, mm.
        below: distance of the pixel below the lower margin, mm.
        look: appearance parameters.
        colour: [3] colour of the pixel, linear RGB. The function changes this array.
    """
    if along <= 0 or along >= 1 or max(above, below) > 2.2 or min(-above, -below) > 2.2:
        return
    start = smooth_step(along, 0.0, 0.05)
    width = 0.9 + 0.9 * look.lash_line * (1 - along)
    upper = look.lash_line * smooth_step(1 - along, 0.02, 0.25) * _bump((above - 0.15) / width)
    lower = look.lower_lash_line * smooth_step(1 - along, 0.1, 0.6) * _bump((below - 0.7) / 1.2)
    cover = start * max(upper, lower)
    for k in range(3):
        colour[k] += cover * (look.lash[k] - colour[k])


_LID_SHADOW_MM = 2.2
_USUAL_OPENING_MM = 8.0
"""Height of the eye opening, mm, at which the eyeball has its usual brightness."""


@compiled
def paint_eyeball(
    along: float,
    globe: Globe,
    emitters: np.ndarray,
    above: float,
    below: float,
    x: float,
    y: float,
    look: Look,
    colour: np.ndarray,
) -> None:
    """Compute the colour of the eyeball or of the flesh at a pixel in the eye opening.

    Args:
        along: position between the corners: 0 at the outer corner, 1 at the inner corner.
        globe: position and rotation of the eyeball.
        emitters: [E, 14] light sources; see `emitter_rows`.
        above: distance of the pixel above the upper margin, mm. Negative in the opening.
        below: distance of the pixel below the lower margin, mm. Negative in the opening.
        x: x of the pixel in camera coordinates, mm.
        y: y of the pixel in camera coordinates, mm.
        look: appearance parameters.
        colour: [3] output array for the colour, linear RGB.
    """
    u, v, _ = on_iris(globe, x, y)
    rho = np.sqrt(u * u + v * v) / globe.iris_mm
    iris_cover = 1 - smooth_step(rho, 0.93, 1.06)
    if iris_cover < 1:
        _paint_sclera(globe, emitters, x, y, along, look, colour)
    if iris_cover > 0:
        _paint_iris(globe, emitters, u, v, rho, iris_cover, look, colour)
    caruncle = 0.9 * smooth_step(along, CARUNCLE - 0.05, CARUNCLE + 0.05)
    if look.lit > 0:
        shadow = 1 - 0.8 * np.exp(above / (0.8 * _LID_SHADOW_MM))
        shadow -= 0.30 * np.exp(below / (0.35 * _LID_SHADOW_MM))
        opening = max(-above - below, 0.0)
        lit = opening / (opening + look.slit_mm) * (1 + look.slit_mm / _USUAL_OPENING_MM)
        shadow = min(max(shadow * lit, 0.10), 1.2)
        outer = 0.25 * (1 - smooth_step(along, 0.02, 0.12))
        rim = below / 0.55
        flesh = max(max(caruncle, outer), 0.45 * np.exp(-rim * rim))
        line = (below + 0.7) / 0.28
        tear = 0.05 * look.wetness * np.exp(-line * line)
        mirrored = _mirrored(globe, emitters, x, y) * (0.2 + 0.8 * iris_cover)
        for k in range(3):
            base = colour[k] * shadow
            shaded = (0.3 + 0.7 * shadow) * look.flesh[k]
            colour[k] = base + flesh * (shaded - base) + tear + mirrored
    else:
        for k in range(3):
            colour[k] += caruncle * (look.flesh[k] - colour[k])


@compiled
def _paint_sclera(
    globe: Globe,
    emitters: np.ndarray,
    x: float,
    y: float,
    along: float,
    look: Look,
    colour: np.ndarray,
) -> None:
    shade, red = 1.0, 0.0
    to_corner = abs(2 * along - 1)
    if intersects_sphere(globe, x, y):
        u, v, w = on_sclera(globe, x, y)
        # The texture is projected onto the eyeball along the gaze. Therefore the veins rotate with
        # the eye.
        reach = globe.radius_mm * (1 + max(w, -0.5 * globe.radius_mm) / globe.radius_mm)
        vein = _read_square(look.veins_map, u / reach, v / reach)
        red = look.redness * (0.25 + 0.75 * to_corner**3) * min(max(0.55 + 0.4 * vein, 0.0), 1.5)
    if look.lit > 0:
        nx, ny = (x - globe.centre_x) / globe.radius_mm, (y - globe.centre_y) / globe.radius_mm
        nz = np.sqrt(max(1 - nx * nx - ny * ny, 0.05))
        # Light also reaches parts of the eyeball that face slightly away from a light source. The
        # reason is that the eye is wet, and that the socket reflects light.
        direct, total = 0.0, 1e-6
        for e in range(emitters.shape[0]):
            facing = emitters[e, 0] * nx + emitters[e, 1] * ny + emitters[e, 2] * nz
            direct += emitters[e, 11] * max((facing + 0.35) / 1.35, 0.0)
            total += emitters[e, 11]
        shade = (look.ambient + (1 - look.ambient) * direct / total) * (0.3 + 0.7 * nz)
        shade *= 1 - 0.6 * to_corner**2.5
    colour[0] = look.sclera[0] * shade * max(1 - 0.10 * red, 0.0)
    colour[1] = look.sclera[1] * shade * max(1 - 0.42 * red, 0.0)
    colour[2] = look.sclera[2] * shade * max(1 - 0.40 * red, 0.0)


@compiled
def _paint_iris(
    globe: Globe,
    emitters: np.ndarray,
    u: float,
    v: float,
    rho: float,
    cover: float,
    look: Look,
    colour: np.ndarray,
) -> None:
    fibre = _read_polar(look.fibres_map, min(rho, 1.0), np.arctan2(v, u))
    ring = (rho - look.pupil - 0.16) / 0.13
    bright = 1 + look.fibres * fibre + 0.35 * np.exp(-ring * ring)
    bright *= 1 - look.limbus * smooth_step(rho, 0.72, 1.0)
    if look.lit > 0 and emitters.shape[0] > 0:
        # The cornea focuses light. Therefore the side of the iris opposite to the lamp is brighter.
        t = globe.turn
        right, up = t[0, 0] * u + t[0, 1] * v, t[1, 0] * u + t[1, 1] * v
        lean = emitters[0, 0] * right + emitters[0, 1] * up
        bright *= 1 - 0.35 * lean / globe.iris_mm
    bright = max(bright, 0.15)
    hole = 1 - smooth_step(rho, look.pupil - 0.07, look.pupil + 0.07)
    for k in range(3):
        iris = look.iris[k] * bright
        iris += hole * (0.0055 - iris)
        colour[k] = colour[k] + cover * (iris - colour[k]) if cover < 1 else iris


@compiled
def _mirrored(globe: Globe, emitters: np.ndarray, x: float, y: float) -> float:
    """Return the brightness of all reflections of light sources at a pixel of the eye.

    The reflecting surface is the cornea or the sphere of the eyeball. The function uses the surface
    that is nearer to the camera.

    Args:
        globe: position and rotation of the eyeball.
        emitters: [E, 14] light sources; see `emitter_rows`.
        x: x of the pixel in camera coordinates, mm.
        y: y of the pixel in camera coordinates, mm.
    """
    t, radius = globe.turn, globe.radius_mm
    x, y = x - globe.centre_x, y - globe.centre_y
    nx, ny = x / radius, y / radius
    nz = np.sqrt(max(1 - nx * nx - ny * ny, 0.05))
    away_x = x - CORNEA_CENTRE * radius * t[0, 2]
    away_y = y - CORNEA_CENTRE * radius * t[1, 2]
    bulge = CORNEA_RADIUS * radius
    under = bulge * bulge - away_x * away_x - away_y * away_y
    if under > 0:
        away_z = np.sqrt(under)
        if CORNEA_CENTRE * radius * t[2, 2] + away_z > radius * nz:
            nx, ny, nz = away_x / bulge, away_y / bulge, away_z / bulge
    # The direction to the camera is v = (0, 0, 1). The reflected direction is 2 (n . v) n - v.
    rx, ry, rz = 2 * nz * nx, 2 * nz * ny, 2 * nz * nz - 1
    soft = 0.11
    shine = 0.0
    for e in range(emitters.shape[0]):
        m = emitters[e]
        if m[0] * rx + m[1] * ry + m[2] * rz < 0.5:
            continue
        across = abs(m[3] * rx + m[4] * ry + m[5] * rz)
        upward = abs(m[6] * rx + m[7] * ry + m[8] * rz)
        if m[13] > 0:
            distance = np.sqrt(across * across + upward * upward) - m[9]
            shine += m[12] * (1 - smooth_step(distance, -soft, soft))
        else:
            inside = 1 - smooth_step(across - m[9], -soft, soft)
            shine += m[12] * inside * (1 - smooth_step(upward - m[10], -soft, soft))
    return shine


@compiled
def _read_square(texture: np.ndarray, u: float, v: float) -> float:
    """Return the value of a square texture at (u, v), with bilinear interpolation.

    Both coordinates are clamped to [-1, 1].
    """
    last = texture.shape[0] - 1.001
    column = min(max((u + 1) * 0.5 * last, 0.0), last)
    row = min(max((1 - v) * 0.5 * last, 0.0), last)
    i, j = int(row), int(column)
    b, a = row - i, column - j
    top = texture[i, j] + a * (texture[i, j + 1] - texture[i, j])
    low = texture[i + 1, j] + a * (texture[i + 1, j + 1] - texture[i + 1, j])
    return top + b * (low - top)


@compiled
def _read_polar(texture: np.ndarray, rho: float, angle: float) -> float:
    """Return the value of a texture in polar coordinates, with bilinear interpolation.

    Args:
        texture: [radii, angles] texture.
        rho: radius in [0, 1].
        angle: angle in radians. The texture is periodic in the angle, with a period of 2 pi.
    """
    radii, angles = texture.shape
    row = rho * (radii - 1.001)
    column = (angle / (2 * np.pi)) % 1.0 * angles
    i, j = int(row), int(column) % angles
    b, a = row - i, column - int(column)
    k = (j + 1) % angles
    top = texture[i, j] + a * (texture[i, k] - texture[i, j])
    low = texture[i + 1, j] + a * (texture[i + 1, k] - texture[i + 1, j])
    return top + b * (low - top)
