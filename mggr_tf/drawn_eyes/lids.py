"""Lids of a synthetic eye: curves, motion with the gaze, and motion of the surrounding skin.

Three edges move: the margins of both lids, and the fold above the upper lid. The plate of the
lid lies between the upper margin and the fold. It moves rigidly with its margin, and slides under
the fold when the eye opens. The skin above the fold hardly moves, and the skin below the lower
margin follows that margin a little.

The vertical motion depends on one displacement per vertical line. Skin follows its edge, by less
with a larger distance, up to the reach, beyond which it does not move. If the edge is displaced by
d, skin that rests at a distance s from it moves to `s + d (1 - s / reach)^2`. This function has
a closed-form inverse if it is monotonic, that is for d < reach / 2.

Horizontally, both lids and their corners slide together by a distance that is small relative to
the width of the eye (`SidewaysSlide`). Beyond the corners the slide falls off linearly. Above and
below the opening it falls off with the height at which the skin rests.

`lid_region` returns the region between the lids. A closed eye has no area between its lids, so
the region has a minimum height (`LEAST_OPENNESS`) around the line where the lids meet.
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
"""Distance beyond a corner at which the sideways slide of the skin ends."""

_FULL_SLIDE_MM, _NO_SLIDE_MM = 6.0, 14.0
"""Vertical distances from the corners. Up to the first distance skin slides by the full length;
beyond the second one it does not slide."""


class SidewaysSlide(NamedTuple):
    """Sideways displacement of the lids.

    Attributes:
        mm: displacement along head x, mm.
        middle_mm: x of the opening's middle at rest.
        half_mm: half of the opening's width.
        height_mm: y of the corners at rest.
    """

    mm: float
    middle_mm: float
    half_mm: float
    height_mm: float


@compiled
def slide(rest_mm: float, pull_mm: float, reach_mm: float) -> float:
    """Return the position of skin when its edge is displaced outwards.

    Args:
        rest_mm: distance of the skin beyond the edge, at rest.
        pull_mm: outward displacement of the edge.
        reach_mm: distance beyond which skin does not move.

    Returns:
        Distance of the skin beyond the rest position of the edge, mm.
    """
    if rest_mm >= reach_mm:
        return rest_mm
    left = 1.0 - rest_mm / reach_mm
    return rest_mm + pull_mm * left * left


@compiled
def unslide(now_mm: float, pull_mm: float, reach_mm: float) -> float:
    """Return the rest position of skin: the inverse of `slide`.

    Args:
        now_mm: current distance of the skin beyond the rest position of the edge.
        pull_mm: outward displacement of the edge.
        reach_mm: distance beyond which skin does not move.
    """
    if now_mm >= reach_mm:
        return now_mm
    b = 1.0 - 2.0 * pull_mm / reach_mm
    c = now_mm - pull_mm
    root = np.sqrt(max(b * b + 4.0 * pull_mm / (reach_mm * reach_mm) * c, 0.0))
    return 2.0 * c / (b + root)


@compiled
def sideways_share(slide: SidewaysSlide, rest_y: float) -> float:
    """Return the fraction of the sideways slide, in [0, 1], for skin that rests at y, mm."""
    return 1.0 - smooth_step(abs(rest_y - slide.height_mm), _FULL_SLIDE_MM, _NO_SLIDE_MM)


@compiled
def slide_sideways(slide: SidewaysSlide, rest_x: float, share: float) -> float:
    """Return the current x, mm, of skin that rests at `rest_x`.

    Args:
        slide: sideways displacement of the lids.
        rest_x: x of the skin at rest, mm.
        share: fraction of the slide by which the skin moves, in [0, 1].
    """
    beyond = abs(rest_x - slide.middle_mm) - slide.half_mm
    left = min(max(1.0 - beyond / _SIDEWAYS_REACH_MM, 0.0), 1.0)
    return rest_x + share * slide.mm * left


@compiled
def unslide_sideways(slide: SidewaysSlide, now_x: float, share: float) -> float:
    """Return the rest position x, mm, of skin that is at `now_x`: inverse of `slide_sideways`."""
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
"""x of the rows of `LidCurves` at rest, mm. The tables slide sideways with the lids."""

_FIRST_MM, _PER_MM, _LAST = float(GRID_MM[0]), 4.0, len(GRID_MM) - 1.001
_FOLD_FOLLOW = 0.25
_CORNER_REACH = 0.2
"""Radius around the outer corner within which the line between the corners follows the vertical
motion of that corner, as a fraction of the width of the eye."""
_ABOVE_REACH_MM, _BELOW_REACH_MM = 11.0, 10.0
_LEAST_SHOW_MM = 0.15
"""Height of the plate that is always visible under the fold."""

CARUNCLE = 0.88
"""Position between the outer (0) and the inner corner (1) beyond which the opening shows flesh
(the caruncle) instead of the eyeball."""

OPEN, PLATE, ABOVE, BELOW = 0, 1, 2, 3
"""Parts of the face surface: the opening, or one of three sheets of skin (the plate of the upper
lid, the skin above its fold, the skin below the lower margin)."""


LidCurves = NDArray[np.float64]
"""[321, 9] table of heights y in mm, and of other quantities that depend on x only, at `GRID_MM`.
"""

UPPER, LOWER, FOLD, UPPER_REST, LOWER_REST, FOLD_REST, FADE, BEYOND, ALONG = range(9)
"""Columns of `LidCurves`.

UPPER and LOWER are the margins, which are equal outside the corners and on a closed eye. FOLD is
the edge of the fold. UPPER_REST, LOWER_REST and FOLD_REST are the same edges at a gaze straight
ahead. FADE is the strength of the folds, 1 in the middle. BEYOND is the distance outside the
corners in mm, 0 between them. ALONG is the position between the corners: 0 at the outer corner,
1 at the inner one.
"""


def lid_curves(
    lids: Lids, eyeball: Eyeball, *, gaze: Gaze, head: NDArray[np.float64], closure: float = 0.0
) -> LidCurves:
    """Return the edges of the lids for a gaze.

    Args:
        lids: lid parameters of the person.
        eyeball: eyeball of the person.
        gaze: gaze relative to the camera. The lids follow the gaze relative to the head.
        head: [3, 3] rotation from head to camera axes.
        closure: 0 is as open as the gaze implies, 1 is closed.
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
        (curves, inside): a table whose columns UPPER, LOWER and FOLD are still 0, and a weight for
        each x, which is 0 at the corners and 1 in the middle.
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
    # The cornea lifts the upper lid in front of it, so the peak moves with the yaw. The larger
    # exponent at the inner corner makes that corner pointed.
    skew = lids.skew + 0.006 * np.clip(turn_deg, -30, 30)
    exponent = lids.roundness + 0.25 * between**2
    upper = line + (lids.upper_mm + lids.corner_drop_mm + rise) * _arc(between**skew) ** exponent
    lower = line - (lids.lower_mm - lids.corner_drop_mm - lower_rise) * _arc(
        between ** (1.7 - 0.8 * lids.skew)
    ) ** (exponent + 0.08)
    # The lids meet low: the upper lid covers 85% of the closing distance.
    meeting = lower + 0.15 * np.maximum(upper - lower, 0)
    upper = np.maximum(upper, lower)
    upper = upper + closure * (meeting - upper)
    lower = lower + closure * (meeting - lower)
    return np.maximum(upper, lower), lower


def _arc(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(np.sin(np.pi * t), 0)


@compiled
def share_of_slide(slide: SidewaysSlide, sheet: int, material: float) -> float:
    """Return the fraction of the sideways slide, in [0, 1], by which a point of the skin moves.

    Args:
        slide: sideways displacement of the lids.
        sheet: sheet of skin, from `material_at`.
        material: position on the sheet, from `material_at`.
    """
    return 1.0 if sheet == PLATE else sideways_share(slide, material)


@compiled
def column_of(x: float) -> tuple[int, float]:
    """Return the position of x, mm, in the tables: an index and the fraction to the next index.

    The tables slide with the lids, so subtract the slide from an x of the face first.
    """
    place = min(max((x - _FIRST_MM) * _PER_MM, 0.0), _LAST)
    index = int(place)
    return index, place - index


@compiled
def at(curves: LidCurves, place: tuple[int, float], what: int) -> float:
    """Return the value of the column `what` at `column_of(x)`, with linear interpolation."""
    index, share = place
    here = curves[index, what]
    return here + share * (curves[index + 1, what] - here)


@compiled
def material_at(curves: LidCurves, place: tuple[int, float], y: float) -> tuple[int, float]:
    """Return the sheet and the material position at (x, y), mm, of the face.

    Args:
        curves: edges of the lids.
        place: position of x in the tables, from `column_of`.
        y: y on the face, mm.

    Returns:
        (sheet, material): `material` is the distance above the margin on the plate, the y at which
        the skin rests on the other sheets, and 0 in the opening.
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
    """Return the current position of a point of the skin: the inverse of `material_at`.

    Returns:
        (y, visible): y in mm, and whether no other sheet covers the point.
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


LEAST_OPENNESS = 0.16
"""Minimum height of the region as a fraction of the distance between the corners."""

OUTLINE_POINTS = 16
"""Number of points of an outline and of a region.

The order is that of `mggr_edge.vision.iris.Eye.outline`: outer corner, 7 points of the lower lid,
inner corner, 7 points of the upper lid back to the outer corner.
"""

USUAL_REGION: tuple[tuple[float, float], ...] = (
    *((6, 33), (8, 34), (13, 35), (21, 37), (30, 38), (39, 38), (47, 37), (52, 37)),
    *((54, 36), (52, 34), (47, 30), (39, 25), (30, 23), (21, 25), (13, 28), (8, 31)),
)
"""Mean region of synthetic eyes of the canonical side, for patches of 64 x 64 pixels whose own
region is unknown. Its error is only about 3 pixels, because patches are cropped around the eye."""

_INNER = OUTLINE_POINTS // 2
_LOWER = slice(1, _INNER)
_UPPER = slice(OUTLINE_POINTS - 1, _INNER, -1)
_PROFILE = np.sin(np.pi * np.arange(1, _INNER) / _INNER)
"""Profile of the minimum height from the outer to the inner corner, relative to its maximum."""


def lid_region(outline: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the region between the lids for the outline of an eye in a level patch.

    Args:
        outline: [..., 16, 2] pixels (x, y) of an eye of either side, see `OUTLINE_POINTS`; NaN
            where the outline is unknown.

    Returns:
        [..., 16, 2] float32 pixels, a closed polygon in the same order.
    """
    points = np.asarray(outline, np.float64)
    along = points[..., _INNER, :] - points[..., 0, :]
    width = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)  # [..., 1]
    down = np.stack([-along[..., 1], along[..., 0]], -1)[..., None, :] / width[..., None]
    down = np.where(down[..., 1:] < 0, -down, down)
    upper, lower = points[..., _UPPER, :], points[..., _LOWER, :]
    gap = np.sum((lower - upper) * down, axis=-1)  # [..., 7]
    missing = np.maximum(LEAST_OPENNESS * width * _PROFILE - gap, 0)[..., None] / 2 * down
    region = points.copy()
    region[..., _UPPER, :] = upper - missing
    region[..., _LOWER, :] = lower + missing
    return region.astype(np.float32)
