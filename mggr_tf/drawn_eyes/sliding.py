"""How skin moves when a lid does, and back.

Up and down it is one number along each upright line. Skin is pulled along by the edge it hangs
on and less so the further away, until it does not move at all. With the edge displaced by d, skin
that rests s beyond it moves to `s + d (1 - s / reach)^2`, which has an inverse in closed form as
long as it folds nowhere, d < reach / 2.

Sideways both lids and their corners slide as a whole, by a length that is small beside the
eye's width (`SidewaysSlide`). Beyond the corners the slide falls off linearly, and above and
below the opening with the height at which the skin rests.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face import smooth_step

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
