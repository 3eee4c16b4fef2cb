"""The eyeball between the lids: sclera, iris, pupil, flesh, the wet shine, the lids' shadow."""

from __future__ import annotations

import numpy as np

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face import smooth_step
from mggr_tf.drawn_eyes.globe import (
    CORNEA_CENTRE,
    CORNEA_RADIUS,
    Globe,
    meets_sphere,
    on_iris,
    on_sclera,
)
from mggr_tf.drawn_eyes.lid_curves import CARUNCLE
from mggr_tf.drawn_eyes.look import Look

_LID_SHADOW_MM = 2.2


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
    """What the opening shows at camera (x, y) mm; `colour` [3] is overwritten.

    Args:
        along: 0 at the outer corner, 1 at the inner one.
        above, below: mm above the upper margin and below the lower one: negative here.
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
        shadow = min(max(shadow, 0.10), 1.0)
        outer = 0.45 * (1 - smooth_step(along, 0.02, 0.12))
        rim = below / 0.55
        flesh = max(max(caruncle, outer), 0.45 * np.exp(-rim * rim))
        line = (below + 0.7) / 0.28
        tear = 0.05 * look.wetness * np.exp(-line * line)
        mirrored = _mirrored(globe, emitters, x, y) * (0.2 + 0.8 * iris_cover)
        for k in range(3):
            base = colour[k] * shadow
            colour[k] = base + flesh * (look.flesh[k] - base) + tear + mirrored
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
    if meets_sphere(globe, x, y):
        u, v, w = on_sclera(globe, x, y)
        # Seen from the front of the eye: veins turn with it.
        reach = globe.radius_mm * (1 + max(w, -0.5 * globe.radius_mm) / globe.radius_mm)
        vein = _read_square(look.veins_map, u / reach, v / reach)
        red = look.redness * (0.25 + 0.75 * to_corner**3) * min(max(0.55 + 0.4 * vein, 0.0), 1.5)
    if look.lit > 0:
        nx, ny = (x - globe.centre_x) / globe.radius_mm, (y - globe.centre_y) / globe.radius_mm
        nz = np.sqrt(max(1 - nx * nx - ny * ny, 0.05))
        # Light wraps round: the eye is wet and stands in a socket that glows.
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
        # The cornea gathers light on the side away from the lamp.
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
    """Brightness of the emitters' mirror images at camera (x, y) mm: cornea, else sclera."""
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
    # Seen along (0, 0, 1), the surface mirrors what lies at 2 (n . v) n - v.
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
    """Bilinear read of a square texture over u, v in [-1, 1]; its border repeats."""
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
    """Bilinear read of a texture over radius and angle; the angle wraps."""
    radii, angles = texture.shape
    row = rho * (radii - 1.001)
    column = (angle / (2 * np.pi)) % 1.0 * angles
    i, j = int(row), int(column) % angles
    b, a = row - i, column - int(column)
    k = (j + 1) % angles
    top = texture[i, j] + a * (texture[i, k] - texture[i, j])
    low = texture[i + 1, j] + a * (texture[i + 1, k] - texture[i + 1, j])
    return top + b * (low - top)
