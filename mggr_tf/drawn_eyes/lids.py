"""Lids of a synthetic eye: their curves, and how lids and skin move when the gaze changes.

The margin of a lid is its edge at the eye opening. Three edges move: the upper margin, the lower
margin, and the fold above the upper lid. They divide the skin into three sheets:

- The plate is the part of the upper lid between the upper margin and the fold. The plate moves
  together with the margin and does not change its shape. When the eye opens, the plate slides under
  the fold.
- The skin above the fold hardly moves.
- The skin below the lower margin moves a little when the margin moves.

Vertical motion: When an edge moves, the skin next to the edge moves with it. The motion decreases
with the distance from the edge, and is 0 beyond a distance called reach. Let s be the distance of
skin from the edge at rest, and d the motion of the edge. The skin moves to the distance `s + d (1 -
s / reach)^2` from the rest position of the edge. `unslide` inverts this formula. The inverse exists
only for d < reach / 2, because the formula is then monotonic.

Horizontal motion: Both lids and their corners slide by the same small distance (`SidewaysSlide`).
Beyond the corners, this slide decreases linearly to 0. It also decreases with the vertical distance
of the skin from the corners.

The rest position of skin is its position at a gaze straight ahead. Coordinates are defined in
`face_geometry`. A patch is a small image of one eye.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, unit_vectors
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face_geometry import smooth_step
from mggr_tf.drawn_eyes.subject import Eyeball, Lids

_SIDEWAYS_REACH_MM = 8.0
"""Distance beyond a corner of the eye, mm, at which the skin no longer slides sideways."""

_FULL_SLIDE_MM, _NO_SLIDE_MM = 6.0, 14.0
"""Two vertical distances from the corners of the eye, mm.

Closer than the first distance, skin slides sideways as much as the lids. Beyond the second
distance, skin does not slide sideways.
"""


class SidewaysSlide(NamedTuple):
    """Sideways displacement of the lids.

    Attributes:
        mm: displacement along the x axis of the head, mm.
        middle_mm: x of the middle of the eye opening at rest, mm.
        half_mm: half of the width of the eye opening, mm.
        height_mm: y of the corners at rest, mm.
    """

    mm: float
    middle_mm: float
    half_mm: float
    height_mm: float


@compiled
def slide(rest_mm: float, pull_mm: float, reach_mm: float) -> float:
    """Return the position of skin after its edge has moved outwards.

    Args:
        rest_mm: distance from the edge to the skin at rest, mm.
        pull_mm: distance by which the edge has moved outwards, mm.
        reach_mm: distance from the edge beyond which skin does not move, mm.

    Returns:
        Distance from the rest position of the edge to the current position of the skin, mm.
    """
    if rest_mm >= reach_mm:
        return rest_mm
    left = 1.0 - rest_mm / reach_mm
    return rest_mm + pull_mm * left * left


@compiled
def unslide(now_mm: float, pull_mm: float, reach_mm: float) -> float:
    """Return the rest position of skin. This function is the inverse of `slide`.

    Args:
        now_mm: distance from the rest position of the edge to the current position of the skin, mm.
        pull_mm: distance by which the edge has moved outwards, mm.
        reach_mm: distance from the edge beyond which skin does not move, mm.
    """
    if now_mm >= reach_mm:
        return now_mm
    b = 1.0 - 2.0 * pull_mm / reach_mm
    c = now_mm - pull_mm
    root = np.sqrt(max(b * b + 4.0 * pull_mm / (reach_mm * reach_mm) * c, 0.0))
    return 2.0 * c / (b + root)


@compiled
def sideways_share(slide: SidewaysSlide, rest_y: float) -> float:
    """Return how far skin moves sideways, as a fraction of the sideways slide, in [0, 1].

    Args:
        slide: sideways displacement of the lids.
        rest_y: y of the skin at rest, mm.
    """
    return 1.0 - smooth_step(abs(rest_y - slide.height_mm), _FULL_SLIDE_MM, _NO_SLIDE_MM)


@compiled
def slide_sideways(slide: SidewaysSlide, rest_x: float, share: float) -> float:
    """Return the current x, mm, of skin whose rest position is `rest_x`.

    Args:
        slide: sideways displacement of the lids.
        rest_x: x of the skin at rest, mm.
        share: motion of the skin as a fraction of the sideways slide, in [0, 1].
    """
    beyond = abs(rest_x - slide.middle_mm) - slide.half_mm
    left = min(max(1.0 - beyond / _SIDEWAYS_REACH_MM, 0.0), 1.0)
    return rest_x + share * slide.mm * left


@compiled
def unslide_sideways(slide: SidewaysSlide, now_x: float, share: float) -> float:
    """Return the x at rest, mm, of skin whose current x is `now_x`. Inverse of `slide_sideways`."""
    side = 1.0 if now_x > slide.middle_mm else -1.0
    outwards = side * share * slide.mm
    beyond = side * (now_x - slide.middle_mm) - slide.half_mm
    if beyond <= outwards:
        return now_x - share * slide.mm
    if beyond >= _SIDEWAYS_REACH_MM:
        return now_x
    rest = (beyond - outwards) / (1.0 - outwards / _SIDEWAYS_REACH_MM)
    return slide.middle_mm + side * (slide.half_mm + rest)


GRID_MM = np.arange(-160, 161) * 0.25
"""Positions x of the rows of `LidCurves` at rest, mm. The rows slide sideways with the lids."""

_FIRST_MM, _PER_MM, _LAST = float(GRID_MM[0]), 4.0, len(GRID_MM) - 1.001
_FOLD_FOLLOW = 0.25
_CORNER_REACH = 0.2
"""Size of the area that moves vertically together with the outer corner.

The unit is the width of the eye.
"""
_ABOVE_REACH_MM, _BELOW_REACH_MM = 11.0, 10.0
_LEAST_SHOW_MM = 0.15
"""Minimum height, mm, of the visible part of the plate."""

CARUNCLE = 0.88
"""Position between the outer corner (0) and the inner corner (1) at which the caruncle begins.

The caruncle is flesh. It is visible in the opening instead of the eyeball.
"""

OPEN, PLATE, ABOVE, BELOW = 0, 1, 2, 3
"""Labels for parts of the face: the eye opening, and the three sheets of skin.

`OPEN` is the opening. `PLATE` is the plate of the upper lid. `ABOVE` is the skin above the fold,
and `BELOW` is the skin below the lower margin.
"""


LidCurves = NDArray[np.float64]
"""Table [321, 9] with one row for each x in `GRID_MM`.

It contains heights (y, mm) and other quantities that depend only on x.
"""

UPPER, LOWER, FOLD, UPPER_REST, LOWER_REST, FOLD_REST, FADE, BEYOND, ALONG = range(9)
"""Columns of `LidCurves`.

`UPPER` and `LOWER` are the heights of the margins. They are equal outside the corners, and
everywhere on a closed eye. `FOLD` is the height of the fold. `UPPER_REST`, `LOWER_REST` and
`FOLD_REST` are the heights of the same edges at a gaze straight ahead. `FADE` is the strength of
the folds, which is 1 in the middle of the eye. `BEYOND` is the distance to the nearest corner in
mm, or 0 between the corners. `ALONG` is the position between the corners: 0 at the outer corner, 1
at the inner corner.
"""


def lid_curves(
    lids: Lids, eyeball: Eyeball, *, gaze: Gaze, head: NDArray[np.float64], closure: float = 0.0
) -> LidCurves:
    """Return the edges of the lids for a gaze.

    Args:
        lids: lid parameters of the person.
        eyeball: eyeball of the person.
        gaze: gaze relative to the camera. The motion of the lids depends on the gaze relative to
            the head, so the function converts it.
        head: [3, 3] rotation matrix from head axes to camera axes.
        closure: closure of the lids. 0 means that the eye is as open as normal for this gaze. 1
            means closed.
    """
    nod_deg, turn_deg = _within_head(gaze, head)
    travel = eyeball.radius_mm * np.sin(np.radians(np.clip(nod_deg, -40, 40)))
    rise = lids.follow * travel
    rest, inside = _at_rest(lids)
    now = _margins(
        lids,
        rise=rise,
        lower_rise=lids.lower_follow * travel,
        corner_rise=lids.corner_follow * travel,
        turn_deg=turn_deg,
        closure=closure,
    )
    fold = rest[:, FOLD_REST] + _FOLD_FOLLOW * (now[0] - rest[:, UPPER_REST])
    curves = rest.copy()
    curves[:, UPPER], curves[:, LOWER] = now
    curves[:, FOLD] = np.maximum(fold, now[0] + _LEAST_SHOW_MM * inside)
    return curves


def lid_slide(
    lids: Lids, eyeball: Eyeball, *, gaze: Gaze, head: NDArray[np.float64]
) -> SidewaysSlide:
    """Return the sideways displacement of the lids for a gaze; see `lid_curves`."""
    across = float(head[:, 0] @ unit_vectors(gaze.array()))
    return SidewaysSlide(
        lids.slide * eyeball.radius_mm * across,
        lids.nasal_mm,
        lids.width_mm / 2,
        -lids.corner_drop_mm,
    )


@lru_cache(maxsize=4)
def _at_rest(lids: Lids) -> tuple[LidCurves, NDArray[np.float64]]:
    """Return the parts of the lid curves that do not depend on the gaze.

    Returns:
        (curves, inside): `curves` is a table in which the columns `UPPER`, `LOWER` and `FOLD` are
        still 0. `inside` contains a weight for each x, from 0 at the corners to 1 in the middle.
    """
    curves = np.zeros((len(GRID_MM), 9))
    upper, lower = _margins(
        lids, rise=0.0, lower_rise=0.0, corner_rise=0.0, turn_deg=0.0, closure=0.0
    )
    t = _along(lids)
    inside = np.sqrt(np.sin(np.pi * np.clip(t, 0, 1)))
    beyond = lids.width_mm * np.maximum(np.maximum(-t, t - 1), 0)
    curves[:, UPPER_REST], curves[:, LOWER_REST] = upper, lower
    curves[:, FOLD_REST] = upper + lids.crease_mm * inside * (0.35 + 0.65 * inside)
    curves[:, FADE] = (0.2 + 0.8 * inside) * np.exp(-beyond / 3)
    curves[:, BEYOND], curves[:, ALONG] = beyond, np.clip(t, 0, 1)
    return curves, inside


def _within_head(gaze: Gaze, head: NDArray[np.float64]) -> tuple[float, float]:
    """Return (pitch, yaw) of the gaze relative to the head, degrees."""
    x, y, z = head.T @ unit_vectors(gaze.array())
    return float(np.degrees(np.arcsin(y))), float(np.degrees(np.arctan2(x, z)))


def _along(lids: Lids) -> NDArray[np.float64]:
    return (GRID_MM - lids.nasal_mm) / lids.width_mm + 0.5


def _margins(
    lids: Lids,
    *,
    rise: float,
    lower_rise: float,
    corner_rise: float,
    turn_deg: float,
    closure: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t = _along(lids)
    between = np.clip(t, 0, 1)
    line = -lids.corner_drop_mm - np.tan(np.radians(lids.tilt_deg)) * lids.width_mm * (
        np.clip(t, -0.4, 1.4) - 0.5
    )
    line += corner_rise * np.exp(-((t / _CORNER_REACH) ** 2))
    # The cornea lifts the upper lid. Therefore the highest point of the lid moves with the yaw of
    # the gaze. The larger exponent at the inner corner makes this corner pointed.
    skew = lids.skew + 0.006 * np.clip(turn_deg, -30, 30)
    exponent = lids.roundness + 0.25 * between**2
    upper = line + (lids.upper_mm + lids.corner_drop_mm + rise) * _arc(between**skew) ** exponent
    lower = line - (lids.lower_mm - lids.corner_drop_mm - lower_rise) * _arc(
        between ** (1.7 - 0.8 * lids.skew)
    ) ** (exponent + 0.08)
    # To close the eye, the upper lid moves over 85% of the opening. The lower lid moves over 15%.
    meeting = lower + 0.15 * np.maximum(upper - lower, 0)
    upper = np.maximum(upper, lower)
    upper = upper + closure * (meeting - upper)
    lower = lower + closure * (meeting - lower)
    return np.maximum(upper, lower), lower


def _arc(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(np.sin(np.pi * t), 0)


@compiled
def share_of_slide(slide: SidewaysSlide, sheet: int, material: float) -> float:
    """Return how far a point of the skin moves sideways, as a fraction of the sideways slide.

    The fraction is in [0, 1].

    Args:
        slide: sideways displacement of the lids.
        sheet: sheet of skin, from `material_at`.
        material: position on the sheet, from `material_at`.
    """
    return 1.0 if sheet == PLATE else sideways_share(slide, material)


@compiled
def column_of(x: float) -> tuple[int, float]:
    """Return the position of x, mm, in `LidCurves`.

    The rows of `LidCurves` slide together with the lids. Therefore the caller must subtract the
    slide from a position on the face first.

    Returns:
        (index, fraction): index of a row, and the fraction of the way to the next row.
    """
    place = min(max((x - _FIRST_MM) * _PER_MM, 0.0), _LAST)
    index = int(place)
    return index, place - index


@compiled
def at(curves: LidCurves, place: tuple[int, float], what: int) -> float:
    """Return the value of the column `what` at a position, interpolated between two rows.

    Args:
        curves: edges of the lids.
        place: position of x in `LidCurves`, from `column_of`.
        what: number of the column.
    """
    index, share = place
    here = curves[index, what]
    return here + share * (curves[index + 1, what] - here)


@compiled
def material_at(curves: LidCurves, place: tuple[int, float], y: float) -> tuple[int, float]:
    """Return the sheet at a position on the face, and the position on this sheet.

    Args:
        curves: edges of the lids.
        place: position of x in `LidCurves`, from `column_of`.
        y: y on the face, mm.

    Returns:
        (sheet, material): the label of the sheet or of the opening, and the position in mm. On the
        plate, the position is the distance above the margin. On the other sheets, it is the y of
        the skin at rest. In the opening, it is 0.
    """
    upper = at(curves, place, UPPER)
    if y < upper:
        lower = at(curves, place, LOWER)
        if y > lower:
            return OPEN, 0.0
        rest = at(curves, place, LOWER_REST)
        return BELOW, rest - unslide(rest - y, rest - lower, _BELOW_REACH_MM)
    fold = at(curves, place, FOLD)
    if y < fold:
        return PLATE, y - upper
    rest = at(curves, place, FOLD_REST)
    return ABOVE, rest + unslide(y - rest, fold - rest, _ABOVE_REACH_MM)


@compiled
def place_of(
    curves: LidCurves, sheet: int, place: tuple[int, float], material: float
) -> tuple[float, bool]:
    """Return the current position of a point of the skin. Inverse of `material_at`.

    Returns:
        (y, visible): y in mm, and whether the point is visible. A point is hidden if
        another sheet covers this point.
    """
    if sheet == PLATE:
        y = at(curves, place, UPPER) + material
        return y, y <= at(curves, place, FOLD)
    if sheet == ABOVE:
        rest = at(curves, place, FOLD_REST)
        pull = at(curves, place, FOLD) - rest
        return rest + slide(material - rest, pull, _ABOVE_REACH_MM), material >= rest
    rest = at(curves, place, LOWER_REST)
    pull = rest - at(curves, place, LOWER)
    return rest - slide(rest - material, pull, _BELOW_REACH_MM), material <= rest
