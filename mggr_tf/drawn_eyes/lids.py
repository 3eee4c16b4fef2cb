"""Lids of a drawn eye: their curves, their motion with gaze, the skin that follows them.

Three edges bound what moves: the upper lid's margin, the lower one's, and the fold
above the upper lid. Between margin and fold lies the lid's plate, which moves with its
margin as a whole and slides under the fold as the eye opens; above the fold the skin hardly
moves, below the lower margin it is pulled along a little (`sliding`).

Up and down it is one number along each upright line. Skin is pulled along by the edge it hangs
on and less so the further away, until it does not move at all. With the edge displaced by d, skin
that rests s beyond it moves to `s + d (1 - s / reach)^2`, which has an inverse in closed form as
long as it folds nowhere, d < reach / 2.

Sideways both lids and their corners slide as a whole, by a length that is small beside the
eye's width (`SidewaysSlide`). Beyond the corners the slide falls off linearly, and above and
below the opening with the height at which the skin rests.

Between the lids for an open eye. A closed eye has no such area, so the region is never narrower
than `LEAST_OPENNESS`: the lids around the line where they meet.
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
"""So far beyond a corner skin slides sideways."""

_FULL_SLIDE_MM, _NO_SLIDE_MM = 6.0, 14.0
"""Skin that rests nearer to the corners' height than the first slides by the full length; beyond
the second it does not slide."""


class SidewaysSlide(NamedTuple):
    """By how much the lids have slid sideways.

    Attributes:
        mm: head mm, + along x.
        middle_mm: x of the opening's middle at rest.
        half_mm: half the opening's width.
        height_mm: y of its corners at rest.
    """

    mm: float
    middle_mm: float
    half_mm: float
    height_mm: float


@compiled
def slide(rest_mm: float, pull_mm: float, reach_mm: float) -> float:
    """Where skin is that rests `rest_mm` beyond an edge, when the edge is pulled outwards."""
    if rest_mm >= reach_mm:
        return rest_mm
    left = 1.0 - rest_mm / reach_mm
    return rest_mm + pull_mm * left * left


@compiled
def unslide(now_mm: float, pull_mm: float, reach_mm: float) -> float:
    """The inverse: where skin rests that is now `now_mm` beyond the edge's place of rest."""
    if now_mm >= reach_mm:
        return now_mm
    b = 1.0 - 2.0 * pull_mm / reach_mm
    c = now_mm - pull_mm
    root = np.sqrt(max(b * b + 4.0 * pull_mm / (reach_mm * reach_mm) * c, 0.0))
    return 2.0 * c / (b + root)


@compiled
def sideways_share(slide: SidewaysSlide, rest_y: float) -> float:
    """Share of the slide, [0, 1], by which skin that rests at y mm moves."""
    return 1.0 - smooth_step(abs(rest_y - slide.height_mm), _FULL_SLIDE_MM, _NO_SLIDE_MM)


@compiled
def slide_sideways(slide: SidewaysSlide, rest_x: float, share: float) -> float:
    """Where skin is, x mm, that rests at x mm and moves by a share of the slide."""
    beyond = abs(rest_x - slide.middle_mm) - slide.half_mm
    left = min(max(1.0 - beyond / _SIDEWAYS_REACH_MM, 0.0), 1.0)
    return rest_x + share * slide.mm * left


@compiled
def unslide_sideways(slide: SidewaysSlide, now_x: float, share: float) -> float:
    """The inverse: x mm at which it rests."""
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
"""x of the tables, at rest: tables slide sideways with the lids."""

_FIRST_MM, _PER_MM, _LAST = float(GRID_MM[0]), 4.0, len(GRID_MM) - 1.001
_FOLD_FOLLOW = 0.25
_CORNER_REACH = 0.2
"""In widths of the eye from the outer corner: so far the line goes up and down with it."""
_ABOVE_REACH_MM, _BELOW_REACH_MM = 11.0, 10.0
_LEAST_SHOW_MM = 0.15
"""So much of the plate is always seen under the fold."""

CARUNCLE = 0.88
"""Nearer to the nose than this share of the opening lies flesh, not the eyeball."""

OPEN, PLATE, ABOVE, BELOW = 0, 1, 2, 3
"""What lies at a point of the face: the opening, or one of three sheets of skin."""


LidCurves = NDArray[np.float64]
"""[321, 9]: heights y in mm, and what else depends on x alone, at `GRID_MM`."""

UPPER, LOWER, FOLD, UPPER_REST, LOWER_REST, FOLD_REST, FADE, BEYOND, ALONG = range(9)
"""Columns of `LidCurves`: the margins, equal outside the corners and where closed; the fold's
edge; the same with the eye looking straight ahead; strength of the folds, 1 in the middle; mm
outside the corners, 0 between them; place between them, 0 the outer, 1 the inner one."""


def lid_curves(
    lids: Lids, eyeball: Eyeball, *, gaze: Gaze, head: NDArray[np.float64], closure: float = 0.0
) -> LidCurves:
    """The lids' edges for a gaze.

    Args:
        gaze: relative to the camera; lids follow the eye within the head.
        head: [3, 3] from head to camera axes.
        closure: 0 as open as the gaze has it, 1 closed.
    """
    nod_deg, turn_deg = _within_head(gaze, head)
    run_quickstart = eyeball.radius_mm * np.sin(np.radians(np.clip(nod_deg, -40, 40)))
    rise = lids.follow * run_quickstart
    rest, inside = _at_rest(lids)
    now = _margins(
        lids,
        rise=rise,
        lower_rise=lids.lower_follow * run_quickstart,
        corner_rise=lids.corner_follow * run_quickstart,
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
    """How far the lids have slid sideways for a gaze; see `lid_curves`."""
    across = float(head[:, 0] @ unit_vectors(gaze.array()))
    return SidewaysSlide(
        lids.slide * eyeball.radius_mm * across,
        lids.nasal_mm,
        lids.width_mm / 2,
        -lids.corner_drop_mm,
    )


@lru_cache(maxsize=4)
def _at_rest(lids: Lids) -> tuple[LidCurves, NDArray[np.float64]]:
    """What no gaze changes: curves whose present edges are still to come, and how far inside the
    corners each x lies, 1 in the middle."""
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
    """(pitch, yaw) of the eye in its socket, degrees."""
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
    # The cornea lifts the lid where it looks; the inner corner is drawn out to a point.
    skew = lids.skew + 0.006 * np.clip(turn_deg, -30, 30)
    exponent = lids.roundness + 0.25 * between**2
    upper = line + (lids.upper_mm + lids.corner_drop_mm + rise) * _arc(between**skew) ** exponent
    lower = line - (lids.lower_mm - lids.corner_drop_mm - lower_rise) * _arc(
        between ** (1.7 - 0.8 * lids.skew)
    ) ** (exponent + 0.08)
    # Lids meet low: the upper one comes three quarters of the way and more.
    meeting = lower + 0.15 * np.maximum(upper - lower, 0)
    upper = np.maximum(upper, lower)
    upper = upper + closure * (meeting - upper)
    lower = lower + closure * (meeting - lower)
    return np.maximum(upper, lower), lower


def _arc(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(np.sin(np.pi * t), 0)


@compiled
def share_of_slide(slide: SidewaysSlide, sheet: int, material: float) -> float:
    """Share of the lids' sideways slide, [0, 1], by which a point of the skin moves.

    Args:
        sheet, material: as `material_at` gives them.
    """
    return 1.0 if sheet == PLATE else sideways_share(slide, material)


@compiled
def column_of(x: float) -> tuple[int, float]:
    """Where x mm of the tables lies: an index, and the share of the way to the next.

    The tables slide with the lids: subtract the slide from an x of the face.
    """
    place = min(max((x - _FIRST_MM) * _PER_MM, 0.0), _LAST)
    index = int(place)
    return index, place - index


@compiled
def at(curves: LidCurves, place: tuple[int, float], what: int) -> float:
    """A column's value at `column_of(x)`, linear between its entries."""
    index, share = place
    here = curves[index, what]
    return here + share * (curves[index + 1, what] - here)


@compiled
def material_at(curves: LidCurves, place: tuple[int, float], y: float) -> tuple[int, float]:
    """What lies at (x, y) mm of the face; `place` is x's.

    Returns:
        The sheet, and where on it: for the plate mm above its margin, else the y at
        which the skin rests. 0 for the opening.
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
    """Where a point of the skin is now: its y in mm, and whether no other sheet covers it."""
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
"""Least height of the region as a share of the distance between the corners."""

OUTLINE_POINTS = 16
"""Of an outline, and of a region: outer corner, 7 points of the lower lid, inner corner, 7 points
of the upper lid and back; in the order of `mggr_edge.vision.iris.Eye.outline`."""

USUAL_REGION: tuple[tuple[float, float], ...] = (
    *((6, 33), (8, 34), (13, 35), (21, 37), (30, 38), (39, 38), (47, 37), (52, 37)),
    *((54, 36), (52, 34), (47, 30), (39, 25), (30, 23), (21, 25), (13, 28), (8, 31)),
)
"""The mean of the regions of drawn eyes of the canonical side, for a patch of 64 x 64 pixels whose
own region nobody knows. Patches are cut by the eye, so it errs by about 3 pixels."""

_INNER = OUTLINE_POINTS // 2
_LOWER = slice(1, _INNER)
_UPPER = slice(OUTLINE_POINTS - 1, _INNER, -1)
_PROFILE = np.sin(np.pi * np.arange(1, _INNER) / _INNER)
"""Least height of the region from the outer to the inner corner, as a share of its greatest."""


def lid_region(outline: NDArray[np.floating]) -> NDArray[np.float32]:
    """The region for the outline of an eye in a level patch, of either side.

    Args:
        outline: [..., 16, 2] pixels (x, y), see `OUTLINE_POINTS`. NaN where it is unknown.

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
