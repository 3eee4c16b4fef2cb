"""Choose people, their illumination and their cameras at random. Equal seeds give equal results.

Iris, lids and crop position move when the gaze changes. The ranges for this motion were fitted to
photographs of the Columbia data set: with these ranges, `mggr-tf data motion` measures the same
motion for synthetic eyes as for the photographs. The ranges are within the anatomical limits in [1,
2, 3].

References:
    [1] PubMed 12696640: MRI at 15 degrees. In vertical rotation, the back of the eyeball moves 1.16
        times as far as the front. Therefore the eyeball rotates about a point 0.9 mm in front of
        its centre.
    [2] Read et al., The Morphology of the Palpebral Fissure in Different Directions of Vertical
        Gaze, 2006. The eye opening becomes 3.3 mm narrower for a gaze change of 40 degrees.
    [3] Cruz et al., Effect of Eyelid Saccades on the Position of Lateral Canthus, 2008. The outer
        corner moves down by 1.5 to 2.3 mm when the eye looks down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mggr_tf.drawn_eyes.subject import (
    Camera,
    Colour,
    Emitter,
    Eyeball,
    Glasses,
    Hair,
    Lids,
    Light,
    Makeup,
    Skin,
    Subject,
)

# Each entry contains a weight and a colour in linear RGB. A more common colour has a larger weight.
_IRIS_COLOURS: dict[str, tuple[float, Colour]] = {
    "black-brown": (0.34, (0.013, 0.009, 0.007)),
    "brown": (0.30, (0.030, 0.017, 0.010)),
    "light brown": (0.12, (0.058, 0.034, 0.018)),
    "hazel": (0.08, (0.062, 0.050, 0.027)),
    "green": (0.05, (0.060, 0.068, 0.045)),
    "blue": (0.08, (0.072, 0.090, 0.106)),
    "grey": (0.04, (0.085, 0.096, 0.100)),
}


_WEAR_GLASSES = 0.3


def draw_subject(seed: int | Sequence[int]) -> Subject:
    """Choose a person at random.

    Equal seeds return equal people. Each part of the person, such as skin or lids, uses a separate
    random generator.
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(9)]
    # Equal steps of optical density look like equal steps of skin colour. Therefore this code
    # chooses the optical density at random, not the colour. The exponent makes light skin slightly
    # more common.
    melanin = float(0.22 + 1.98 * streams[0].uniform() ** 1.3)
    glasses = _draw_glasses(streams[8]) if streams[8].uniform() < _WEAR_GLASSES else None
    return Subject(
        skin=_draw_skin(streams[0], melanin),
        lids=_draw_lids(streams[1]),
        eyeball=_draw_eyeball(streams[2], melanin),
        hair=_draw_hair(streams[3], melanin),
        makeup=_draw_makeup(streams[7]),
        glasses=glasses,
        light=_draw_light(streams[4]),
        camera=_draw_camera(streams[5], misled=glasses is not None),
        texture_seed=int(streams[6].integers(2**31)),
    )


def draw_light(seed: int | Sequence[int]) -> Light:
    """Choose an illumination at random. Equal seeds return equal illuminations."""
    return _draw_light(np.random.default_rng(seed))


def _draw_skin(rng: np.random.Generator, melanin: float) -> Skin:
    return Skin(
        melanin=melanin,
        blood=float(rng.uniform(0.22, 0.36)),
        dark_ring=float(rng.uniform(0.05, 0.6)),
        mottle=float(rng.uniform(0.01, 0.05)),
        pores=float(rng.uniform(0.005, 0.03)),
        socket_mm=float(rng.uniform(3.0, 9.5)),
        bag_mm=float(1.1 * rng.uniform() ** 2),
        nose_mm=float(rng.uniform(3.0, 10.0)),
        shine=float(rng.uniform(0.0, 0.035)),
        cheek_mm=float(rng.uniform(2.5, 6.5)),
        temple_mm=float(rng.uniform(4.0, 8.0)),
        freckles=int(rng.integers(20, 120)) if melanin < 0.8 and rng.uniform() < 0.2 else 0,
    )


def _draw_lids(rng: np.random.Generator) -> Lids:
    single_lid = rng.uniform() < 0.25
    corner_drop_mm = rng.uniform(2.0, 4.2)
    return Lids(
        width_mm=float(rng.uniform(28.3, 31.2)),
        upper_mm=float(rng.uniform(2.5, 4.3) if single_lid else rng.uniform(2.9, 5.1)),
        lower_mm=float(max(rng.uniform(4.2, 5.6), corner_drop_mm + 0.6)),
        corner_drop_mm=float(corner_drop_mm),
        nasal_mm=float(rng.uniform(-1.7, 0.2)),
        tilt_deg=float(np.clip(rng.normal(2.8, 2.2), -2, 8)),
        roundness=float(rng.uniform(0.55, 0.95)),
        skew=float(rng.uniform(0.95, 1.25)),
        crease_mm=float(rng.uniform(0.2, 1.2) if single_lid else rng.uniform(1.5, 5.0)),
        crease_depth=float(rng.uniform(0.1, 0.6) if single_lid else rng.uniform(0.3, 1.0)),
        # Both lids move. On average, the height of the opening changes by 0.34 times the motion of
        # the eye (0.4 in [2]).
        follow=float(rng.uniform(0.66, 1.04)),
        lower_follow=float(rng.uniform(0.36, 0.66)),
        # According to [3], the corner moves by 0.03 to 0.04 mm per degree when the eye looks down.
        # The corner moves less when the eye looks up.
        corner_follow=float(rng.uniform(0.16, 0.36)),
        slide=float(rng.uniform(0.0, 0.18)),
        bulge_mm=float(rng.uniform(1.0, 3.4)),
    )


def _draw_eyeball(rng: np.random.Generator, melanin: float) -> Eyeball:
    names = list(_IRIS_COLOURS)
    # Light irises are more common among people with light skin. Nearly all people with dark skin
    # have dark irises.
    fair = float(np.clip(1.25 - melanin, 0.03, 1.0))
    weights = np.array([_IRIS_COLOURS[n][0] * (fair if i > 1 else 1) for i, n in enumerate(names)])
    colour = np.array(_IRIS_COLOURS[str(rng.choice(names, p=weights / weights.sum()))][1])
    colour = colour * rng.uniform(0.35, 1.2) * rng.uniform(0.88, 1.12, 3)
    yellow = rng.uniform(0.0, 0.16)
    white = rng.uniform(0.17, 0.32)
    radius_mm = rng.uniform(11.7, 12.3)
    iris_mm = rng.uniform(5.45, 6.15)
    return Eyeball(
        radius_mm=float(radius_mm),
        iris_mm=float(iris_mm),
        pupil_mm=float(iris_mm * rng.uniform(0.30, 0.52)),
        iris=_colour(colour),
        limbus=float(rng.uniform(0.3, 0.85)),
        fibres=float(rng.uniform(0.15, 0.5)),
        sclera=_colour(white * np.array([1.0, 0.95 - 0.3 * yellow, 0.93 - yellow])),
        redness=float(rng.uniform(0.1, 0.6)),
        wetness=float(rng.uniform(0.2, 1.0)),
        # The value in [1] is 0.9 mm.
        pivot_mm=float(rng.uniform(0.4, 1.6)),
    )


def _draw_hair(rng: np.random.Generator, melanin: float) -> Hair:
    dark = np.array([0.012, 0.009, 0.008])
    fair = np.array([0.16, 0.10, 0.055])
    share = rng.uniform() ** 2.5 if melanin < 0.7 else 0.0
    return Hair(
        colour=_colour(dark + share * (fair - dark)),
        lash_colour=_colour(dark + 0.2 * share * (fair - dark)),
        brow_height_mm=float(rng.uniform(11.5, 19.0)),
        brow_thickness_mm=float(rng.uniform(2.6, 5.8)),
        brow_arch_mm=float(rng.uniform(0.5, 3.5)),
        brow_density=float(rng.uniform(0.45, 0.97)),
        lash_length_mm=float(rng.uniform(1.5, 4.2)),
        lash_count=int(rng.integers(18, 42)),
        lash_strength=float(rng.uniform(0.65, 1.0)),
        lower_lash_strength=float(rng.uniform(0.0, 0.45)),
    )


def _draw_makeup(rng: np.random.Generator) -> Makeup:
    shadow = rng.uniform(0.15, 0.7) if rng.uniform() < 0.15 else 0.0
    tone = rng.uniform(0.02, 0.35)
    return Makeup(
        shadow=float(shadow),
        shadow_colour=_colour(np.clip(tone * rng.uniform(0.5, 1.5, 3), 0.005, 0.6)),
        shadow_mm=float(rng.uniform(4, 9)),
        liner=float(rng.uniform(0.3, 0.95) if rng.uniform() < 0.2 else 0.0),
        liner_mm=float(rng.uniform(0.4, 1.1)),
    )


def _draw_glasses(rng: np.random.Generator) -> Glasses:
    dark = rng.uniform() < 0.7
    tone = rng.uniform(0.005, 0.03) if dark else rng.uniform(0.04, 0.25)
    rim = float(rng.choice([0.0, 0.8, 1.2, 1.8, 2.5, 4.0]))
    return Glasses(
        width_mm=float(rng.uniform(44, 56)),
        height_mm=float(rng.uniform(22, 46)),
        squareness=float(rng.uniform(2.0, 6.0)),
        drop_mm=float(rng.uniform(-1, 8)),
        nasal_mm=float(rng.uniform(-5, 1)),
        rim_mm=rim,
        lower_rim_mm=float(rng.choice([0.4, 1.0])) if rng.uniform() < 0.4 else rim,
        temple_mm=float(rng.uniform(1.0, 3.0) + (rng.uniform(0, 6) if rim >= 1.8 else 0.0)),
        pad=bool(rng.uniform() < 0.6),
        stand_mm=float(rng.uniform(22, 30)),
        colour=_colour(tone * rng.uniform(0.6, 1.4, 3)),
        tint=float(rng.uniform(0.02, 0.12)),
        glare=float(0.02 + 0.3 * rng.uniform() ** 3 if rng.uniform() < 0.5 else 0.0),
        glare_x=float(rng.uniform(-0.8, 0.8)),
        glare_y=float(rng.uniform(-0.8, 0.8)),
        glare_size=float(rng.uniform(0.15, 0.6)),
        veil=float(0.05 * rng.uniform() ** 2 if rng.uniform() < 0.6 else 0.0),
    )


def _draw_light(rng: np.random.Generator) -> Light:
    key = Emitter(
        azimuth_deg=float(rng.uniform(-60, 60)),
        elevation_deg=float(rng.uniform(15, 72)),
        half_width_deg=float(rng.uniform(1.5, 7)),
        half_height_deg=0.0,
        lights=1.0,
        mirrored=float(rng.uniform(0.15, 1.8) * rng.choice([0, 1, 1, 1])),
        round=bool(rng.uniform() < 0.6),
    )
    key = dataclasses.replace(key, half_height_deg=key.half_width_deg * float(rng.uniform(0.5, 1)))
    more = [draw(rng) for draw, odds in _MORE_EMITTERS if rng.uniform() < odds]
    return Light(
        emitters=(key, *more),
        ambient=float(rng.uniform(0.12, 0.5)),
        shadow_strength=float(rng.uniform(0.15, 0.6) if rng.uniform() < 0.5 else 0.0),
        shadow_angle_deg=float(rng.uniform(0, 360)),
        shadow_offset=float(rng.uniform(-0.1, 0.45)),
        slit_mm=float(rng.uniform(2.0, 14.0)),
    )


def _draw_fill(rng: np.random.Generator) -> Emitter:
    size = float(rng.uniform(3, 8))
    azimuth = float(rng.uniform(-75, 75))
    strength = float(rng.uniform(0.1, 0.9))
    return Emitter(azimuth, float(rng.uniform(0, 55)), size, size, 0.5 * strength, strength, True)


def _draw_window(rng: np.random.Generator) -> Emitter:
    azimuth = float(rng.choice([-1, 1]) * rng.uniform(25, 75))
    width, height = float(rng.uniform(5, 13)), float(rng.uniform(8, 20))
    strength = float(rng.uniform(0.04, 0.35))
    return Emitter(azimuth, float(rng.uniform(0, 35)), width, height, strength, strength, False)


def _draw_screen(rng: np.random.Generator) -> Emitter:
    width = float(rng.uniform(7, 16))
    strength = float(rng.uniform(0.02, 0.14))
    elevation = float(rng.uniform(-25, 0))
    return Emitter(
        float(rng.uniform(-10, 10)), elevation, width, 0.6 * width, 0.5 * strength, strength, False
    )


_MORE_EMITTERS = ((_draw_fill, 0.35), (_draw_window, 0.25), (_draw_screen, 0.3))


def _draw_camera(rng: np.random.Generator, *, misled: bool) -> Camera:
    """Choose a camera at random.

    Args:
        rng: random generator.
        misled: True for a person with glasses. On glasses, a landmark detector may place landmarks
            on the frame instead of the lids. The errors can differ between images.
    """
    warmth = rng.normal(0.09, 0.07)
    misses = float(rng.uniform(0, 1) ** 2) if misled else 0.0
    return Camera(
        exposure=float(rng.uniform(0.22, 0.58)),
        white_balance=_colour(np.exp([warmth, rng.normal(0, 0.03), -0.06 - 1.2 * warmth])),
        contrast=float(rng.uniform(1.1, 1.75)),
        blur_px=float(rng.uniform(0.1, 0.65)),
        noise=float(rng.uniform(0.6, 3.0)),
        resolution=float(rng.uniform(0.45, 0.9) if rng.uniform() < 0.2 else 1.0),
        jpeg=int(rng.integers(55, 95)) if rng.uniform() < 0.3 else 0,
        zoom=float(rng.uniform(1.12, 1.53) * np.exp(-0.25 * misses * rng.uniform())),
        shift_px=(float(rng.normal(-1.6, 1.5)), float(rng.normal(3.0, 0.8))),
        follow=(float(rng.normal(0.0, 0.08)), float(rng.normal(0.65, 0.12))),
        jitter_px=float(rng.uniform(0.1, 0.8) + 3 * misses),
        zoom_jitter=float(0.02 + 0.08 * misses),
    )


def _colour(rgb: np.ndarray) -> Colour:
    red, green, blue = (float(c) for c in rgb)
    return red, green, blue
