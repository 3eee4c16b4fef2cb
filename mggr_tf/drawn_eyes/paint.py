"""Paint an image pixel by pixel: the skin, and the eyeball in the eye opening.

For each pixel, `sitting` returns the point where the line of sight meets the face. `lids`
determines whether this point lies in the opening or on a sheet of skin. `globe` defines the eyeball
behind the opening. Colours are linear RGB. Later, `render` paints single lashes and glasses, and
applies the camera model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face_geometry import OVERSAMPLING, smooth_step
from mggr_tf.drawn_eyes.flow import DrawnFrame, Sight, beyond_nose
from mggr_tf.drawn_eyes.globe import Bulge, Globe, bulge_over
from mggr_tf.drawn_eyes.lids import (
    ALONG,
    BEYOND,
    LOWER,
    UPPER,
    LidCurves,
    SidewaysSlide,
    at,
    column_of,
)
from mggr_tf.drawn_eyes.look import Look
from mggr_tf.drawn_eyes.paint_layers import paint_eyeball, paint_lash_line, paint_skin
from mggr_tf.drawn_eyes.sitting import Sitting, X, Y, read_grid

_PLAIN_MM = 2.2
"""Distance from the eye opening, mm, beyond which the skin has no edges and no lashes."""


def paint(sitting: Sitting, moment: DrawnFrame, look: Look, size_px: int) -> NDArray[np.float32]:
    """Return an image of the eye and the skin around the eye, [size, size, 3] linear RGB.

    The image contains the dark line at the roots of the lashes, but no single lashes.
    """
    picture = np.empty((size_px, size_px, 3), np.float32)
    bulge = bulge_over(moment.globe, head=sitting.rotation, height_mm=look.bulge_mm)
    _paint(
        moment.sight,
        moment.curves,
        moment.slide,
        moment.globe,
        sitting.grid,
        sitting.atlas,
        sitting.coarse_atlas,
        sitting.nose,
        sitting.nose_light,
        sitting.emitters,
        look,
        bulge,
        np.empty((3, 6)),
        picture,
    )
    return picture


@compiled
def _paint(
    sight: Sight,
    curves: LidCurves,
    slide: SidewaysSlide,
    globe: Globe,
    grid: np.ndarray,
    atlas: np.ndarray,
    coarse_atlas: np.ndarray,
    nose: np.ndarray,
    nose_light: float,
    emitters: np.ndarray,
    look: Look,
    bulge: Bulge,
    scratch: np.ndarray,
    picture: np.ndarray,
) -> None:
    met, colour, ball = scratch[0], scratch[1, :3], scratch[2, :3]
    for row in range(0, picture.shape[0], OVERSAMPLING):
        for column in range(0, picture.shape[1], OVERSAMPLING):
            # Plain skin is smooth. Therefore all pixels of a block get the same colour, from the
            # skin texture with the lower resolution.
            middle = 0.5 * (OVERSAMPLING - 1)
            x = (column + middle - sight.eye_x) / sight.px_per_mm
            y = (sight.eye_y - row - middle) / sight.px_per_mm
            read_grid(grid, x, y, met)
            place = column_of(met[X] - slide.mm)
            above = met[Y] - at(curves, place, UPPER)
            below = at(curves, place, LOWER) - met[Y]
            if max(above, below) > _PLAIN_MM or at(curves, place, BEYOND) > _PLAIN_MM:
                paint_skin(
                    curves, slide, place, coarse_atlas, met, above, below, look, bulge, colour
                )
                _hide_behind_nose(nose, nose_light, x, y, look, colour)
                for i in range(row, row + OVERSAMPLING):
                    for j in range(column, column + OVERSAMPLING):
                        _put(picture, i, j, colour)
                continue
            for i in range(row, row + OVERSAMPLING):
                for j in range(column, column + OVERSAMPLING):
                    x = (j - sight.eye_x) / sight.px_per_mm
                    y = (sight.eye_y - i) / sight.px_per_mm
                    read_grid(grid, x, y, met)
                    _paint_near(
                        curves,
                        slide,
                        globe,
                        emitters,
                        atlas,
                        met,
                        x,
                        y,
                        sight.px_per_mm,
                        look,
                        bulge,
                        ball,
                        colour,
                    )
                    _hide_behind_nose(nose, nose_light, x, y, look, colour)
                    _put(picture, i, j, colour)


@compiled
def _put(picture: np.ndarray, row: int, column: int, colour: np.ndarray) -> None:
    # Write the three channels separately. Writing a slice takes longer than painting the pixel.
    picture[row, column, 0] = colour[0]
    picture[row, column, 1] = colour[1]
    picture[row, column, 2] = colour[2]


@compiled
def _paint_near(
    curves: LidCurves,
    slide: SidewaysSlide,
    globe: Globe,
    emitters: np.ndarray,
    atlas: np.ndarray,
    met: np.ndarray,
    x: float,
    y: float,
    px_per_mm: float,
    look: Look,
    bulge: Bulge,
    ball: np.ndarray,
    colour: np.ndarray,
) -> None:
    """Paint a pixel in or near the eye opening, and write its colour into `colour` [3]."""
    place = column_of(met[X] - slide.mm)
    above = met[Y] - at(curves, place, UPPER)
    below = at(curves, place, LOWER) - met[Y]
    along = at(curves, place, ALONG)
    under_upper = min(max(0.5 - above * px_per_mm, 0.0), 1.0)
    over_lower = min(max(0.5 - below * px_per_mm, 0.0), 1.0)
    skin_cover = 1 - max(under_upper + over_lower - 1, 0.0)
    if skin_cover > 0:
        paint_skin(curves, slide, place, atlas, met, above, below, look, bulge, colour)
    if skin_cover < 1:
        paint_eyeball(along, globe, emitters, above, below, x, y, look, ball)
        for k in range(3):
            colour[k] = ball[k] + skin_cover * (colour[k] - ball[k]) if skin_cover > 0 else ball[k]
    if look.lit > 0:
        paint_lash_line(along, above, below, look, colour)


@compiled
def _hide_behind_nose(
    nose: np.ndarray, nose_light: float, x: float, y: float, look: Look, colour: np.ndarray
) -> None:
    hidden = smooth_step(beyond_nose(nose, x, y), -0.8, 2.0)
    if hidden > 0:
        light = nose_light if look.lit > 0 else 1.0
        for k in range(3):
            colour[k] += hidden * (look.skin[k] * light - colour[k])
