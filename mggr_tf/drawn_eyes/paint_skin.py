"""Skin: its own colour where the pixel meets it, lit, with folds that follow the lids."""

from __future__ import annotations

import numpy as np

from mggr_tf.drawn_eyes.atlas import read_atlas
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face import smooth_step
from mggr_tf.drawn_eyes.lid_curves import (
    BEYOND,
    FADE,
    FOLD,
    PLATE,
    UPPER,
    UPPER_REST,
    LidCurves,
    at,
    material_at,
    share_of_slide,
)
from mggr_tf.drawn_eyes.look import Look
from mggr_tf.drawn_eyes.sitting import DIRECT, HOLLOW, SHADOW, SLOPE, X, Y
from mggr_tf.drawn_eyes.sliding import SidewaysSlide, unslide_sideways


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
    colour: np.ndarray,
) -> None:
    """The skin of a pixel, lit; `colour` [3] is overwritten.

    Args:
        place: x's in the tables.
        atlas: the skin's colours.
        met: what `read_grid` says of the pixel.
        above, below: mm above the upper margin and below the lower one.
    """
    # At the margin itself half a pixel may lie inside: it shows the margin's skin.
    y = met[Y] - min(above, 0.0) if above > below else met[Y] + min(below, 0.0)
    sheet, material = material_at(curves, place, y)
    rest_y = material
    if sheet == PLATE:
        # The plate shows the tone of the lid at rest, drawn out so as not to reach the brow.
        rest_y = at(curves, place, UPPER_REST) + 0.5 * material
    rest_x = unslide_sideways(slide, met[X], share_of_slide(slide, sheet, material))
    red, green, blue = read_atlas(atlas, rest_x, rest_y)
    shade, gloss = 1.0, 0.0
    if look.lit > 0:
        shade = _shade_of_skin(curves, place, met, above, below, look)
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
) -> float:
    fade = at(curves, place, FADE)
    slope, groove = 0.0, 0.0
    if above > below:
        # A groove where the plate goes under, and the roll of skin above it.
        plate = at(curves, place, FOLD) - at(curves, place, UPPER)
        past = above - plate
        # The more of the plate hangs out, the flatter the fold.
        depth = look.crease_depth * fade / (1 + 0.15 * plate)
        groove = depth * _bump(past / 1.1)
        slope = depth * (2.6 * _tilt(past / 1.1) + 1.2 * _bump((past - 0.35) / 0.55))
    else:
        bag = 0.9 * _tilt((below - 4.5) / 4.8) - 0.3 * _tilt((below - 8.0) / 2.8)
        slope = fade * look.bag_mm * bag
    direct = max(met[DIRECT] - met[SLOPE] * min(max(slope, -1.2), 1.2), 0.0)
    shade = (look.ambient + (1 - look.ambient) * direct * met[SHADOW]) * met[HOLLOW]
    away = max(max(above, below) + 0.3 * at(curves, place, BEYOND), 0.0)
    near = max(1 - away / 4.8, 0.0)
    return shade * (1 - 0.4 * near * near * near) * (1 - 0.4 * groove)


@compiled
def _bump(t: float) -> float:
    """1 at 0, 0 from -1 and 1 on."""
    s = max(1 - t * t, 0.0)
    return s * s


@compiled
def _tilt(t: float) -> float:
    """How a bump's slope runs: up before 0, down after it, at most 1."""
    s = max(1 - t * t, 0.0)
    return 1.75 * t * s * s


@compiled
def paint_lash_line(
    along: float, above: float, below: float, look: Look, colour: np.ndarray
) -> None:
    """The dark rims where the lashes grow."""
    if along <= 0 or along >= 1 or max(above, below) > 2.2 or min(-above, -below) > 2.2:
        return
    start = smooth_step(along, 0.0, 0.05)
    width = 0.9 + 0.9 * look.lash_line * (1 - along)
    upper = look.lash_line * smooth_step(1 - along, 0.02, 0.25) * _bump((above - 0.15) / width)
    lower = look.lower_lash_line * smooth_step(1 - along, 0.1, 0.6) * _bump((below - 0.7) / 1.2)
    cover = start * max(upper, lower)
    for k in range(3):
        colour[k] += cover * (look.lash[k] - colour[k])
