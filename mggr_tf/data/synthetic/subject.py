"""Who is looking: everything that stays the same from picture to picture of one person.

A `Subject` is drawn from a seed and holds numbers only; `render_eye` turns it
into pictures. Lengths are millimetres on the face, angles degrees, colours
linear RGB reflectances. The eye described is the right one (nose on the
image's right); the left one is its mirror image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

# Linear RGB; the weights follow how common the colours are among people, roughly.
_IRIS_COLOURS: dict[str, tuple[float, Colour]] = {
    "black-brown": (0.34, (0.013, 0.009, 0.007)),
    "brown": (0.30, (0.030, 0.017, 0.010)),
    "light brown": (0.12, (0.058, 0.034, 0.018)),
    "hazel": (0.08, (0.062, 0.050, 0.027)),
    "green": (0.05, (0.060, 0.068, 0.045)),
    "blue": (0.08, (0.072, 0.090, 0.106)),
    "grey": (0.04, (0.085, 0.096, 0.100)),
}


@dataclass(frozen=True)
class Skin:
    """Colour and relief of the skin round the eye.

    Attributes:
        melanin: optical density, about 0.15 (very light) to 2.2 (very dark).
        blood: optical density of the blood, 0.15 to 0.5.
        dark_ring: extra pigment next to the opening, as a share of the density.
        mottle: strength of the low-frequency texture.
        pores: strength of the fine texture.
        socket_mm: how deep the eye lies behind the brow.
        bag_mm: height of the bag under the eye.
        nose_mm: how far the nose's root stands before the eye.
        shine: strength of the skin's gloss.
    """

    melanin: float
    blood: float
    dark_ring: float
    mottle: float
    pores: float
    socket_mm: float
    bag_mm: float
    nose_mm: float
    shine: float


@dataclass(frozen=True)
class Lids:
    """The opening between the lids, at rest with the eye looking straight ahead.

    Attributes:
        width_mm: between the corners.
        upper_mm: upper lid's margin above the pupil's centre.
        lower_mm: lower lid's margin below it.
        corner_drop_mm: line of the corners below the pupil's centre.
        nasal_mm: middle of the opening towards the nose from the pupil.
        tilt_deg: + when the outer corner stands higher than the inner one.
        roundness: exponent of the lid curve: small is boxy, 1 an arc of a sine.
        skew: where the upper lid peaks: > 1 is towards the nose.
        crease_mm: fold above the margin; near zero the margin hides under it.
        crease_depth: strength of the fold.
        follow: share of the eye's up-and-down that the upper lid follows.
    """

    width_mm: float
    upper_mm: float
    lower_mm: float
    corner_drop_mm: float
    nasal_mm: float
    tilt_deg: float
    roundness: float
    skew: float
    crease_mm: float
    crease_depth: float
    follow: float


@dataclass(frozen=True)
class Eyeball:
    """The globe. `iris` is a colour, `limbus` the dark ring's strength, `redness` the veins'."""

    radius_mm: float
    iris_mm: float
    pupil_mm: float
    iris: Colour
    limbus: float
    fibres: float
    sclera: Colour
    redness: float
    wetness: float


@dataclass(frozen=True)
class Hair:
    """Brow and lashes. Lengths in mm, `density` and `strength` in [0, 1]."""

    colour: Colour
    lash_colour: Colour
    brow_height_mm: float
    brow_thickness_mm: float
    brow_arch_mm: float
    brow_density: float
    lash_length_mm: float
    lash_count: int
    lash_strength: float
    lower_lash_strength: float


@dataclass(frozen=True)
class Light:
    """Main light (degrees, + is image right and up), ambient share, and a cast shadow's edge."""

    azimuth_deg: float
    elevation_deg: float
    ambient: float
    glints: int
    glint_strength: float
    glint_mm: float
    shadow_strength: float
    shadow_angle_deg: float
    shadow_offset: float


@dataclass(frozen=True)
class Camera:
    """How the picture was taken.

    Attributes:
        exposure: linear brightness of the skin in the picture.
        white_balance: gains of red, green, blue.
        contrast: slope of the tone curve at middle grey.
        blur_px: sigma in pixels of the finished patch.
        noise: standard deviation in grey levels.
        zoom: eye's size against the exact crop. Landmarks lie inside the
            visible corners, so crops in circulation show the eye larger.
        shift_px: (x, y) error of the crop in pixels of a 64-pixel patch.
    """

    exposure: float
    white_balance: Colour
    contrast: float
    blur_px: float
    noise: float
    zoom: float
    shift_px: tuple[float, float]


@dataclass(frozen=True)
class Subject:
    """One person under one light before one camera; `texture_seed` fixes the fine texture."""

    skin: Skin
    lids: Lids
    eyeball: Eyeball
    hair: Hair
    light: Light
    camera: Camera
    texture_seed: int

    @classmethod
    def draw(cls, seed: int | Sequence[int]) -> Subject:
        """Draws a person. Equal seeds give equal people; each part has its own stream."""
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(7)]
        # Squeezed towards light skin a little: density is what the eye sees as even steps.
        melanin = float(0.22 + 1.98 * streams[0].uniform() ** 1.3)
        return cls(
            skin=_draw_skin(streams[0], melanin),
            lids=_draw_lids(streams[1]),
            eyeball=_draw_eyeball(streams[2], melanin),
            hair=_draw_hair(streams[3], melanin),
            light=_draw_light(streams[4]),
            camera=_draw_camera(streams[5]),
            texture_seed=int(streams[6].integers(2**31)),
        )

    def other_eye(self) -> Subject:
        """The same person with the light coming from the other side.

        `render_eye` mirrors the left eye whole, light too. Drawing the left eye of
        `other_eye()` puts the lamp back where it stood for the right one.
        """
        light = self.light
        turned = dataclasses.replace(
            light, azimuth_deg=-light.azimuth_deg, shadow_angle_deg=180 - light.shadow_angle_deg
        )
        return dataclasses.replace(self, light=turned, texture_seed=self.texture_seed ^ 1)


def _draw_skin(rng: np.random.Generator, melanin: float) -> Skin:
    return Skin(
        melanin=melanin,
        blood=float(rng.uniform(0.22, 0.36)),
        dark_ring=float(rng.uniform(0.15, 1.0)),
        mottle=float(rng.uniform(0.01, 0.05)),
        pores=float(rng.uniform(0.005, 0.03)),
        socket_mm=float(rng.uniform(3.0, 9.5)),
        bag_mm=float(rng.uniform(0.0, 1.6)),
        nose_mm=float(rng.uniform(3.0, 10.0)),
        shine=float(rng.uniform(0.0, 0.05)),
    )


def _draw_lids(rng: np.random.Generator) -> Lids:
    single_lid = rng.uniform() < 0.25
    return Lids(
        width_mm=float(rng.uniform(26.5, 31.0)),
        upper_mm=float(rng.uniform(2.4, 4.0) if single_lid else rng.uniform(2.9, 5.0)),
        lower_mm=float(rng.uniform(4.2, 5.6)),
        corner_drop_mm=float(rng.uniform(0.6, 2.3)),
        nasal_mm=float(rng.uniform(-1.5, 0.4)),
        tilt_deg=float(np.clip(rng.normal(4.0, 2.2), -1, 9)),
        roundness=float(rng.uniform(0.72, 1.05)),
        skew=float(rng.uniform(0.95, 1.25)),
        crease_mm=float(rng.uniform(0.2, 1.2) if single_lid else rng.uniform(1.5, 5.0)),
        crease_depth=float(rng.uniform(0.1, 0.6) if single_lid else rng.uniform(0.3, 1.0)),
        follow=float(rng.uniform(0.5, 0.95)),
    )


def _draw_eyeball(rng: np.random.Generator, melanin: float) -> Eyeball:
    names = list(_IRIS_COLOURS)
    # Light irises go with light skin; dark skin nearly always has a dark iris.
    fair = float(np.clip(1.25 - melanin, 0.03, 1.0))
    weights = np.array([_IRIS_COLOURS[n][0] * (fair if i > 1 else 1) for i, n in enumerate(names)])
    colour = np.array(_IRIS_COLOURS[str(rng.choice(names, p=weights / weights.sum()))][1])
    colour = colour * rng.uniform(0.7, 1.35) * rng.uniform(0.88, 1.12, 3)
    yellow = rng.uniform(0.0, 0.16)
    white = rng.uniform(0.21, 0.35)
    radius_mm = rng.uniform(11.7, 12.3)
    iris_mm = rng.uniform(5.6, 6.3)
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
    )


def _draw_hair(rng: np.random.Generator, melanin: float) -> Hair:
    dark = np.array([0.012, 0.009, 0.008])
    fair = np.array([0.16, 0.10, 0.055])
    share = rng.uniform() ** 2.5 if melanin < 0.7 else 0.0
    return Hair(
        colour=_colour(dark + share * (fair - dark)),
        lash_colour=_colour(dark + 0.2 * share * (fair - dark)),
        brow_height_mm=float(rng.uniform(12.5, 20.0)),
        brow_thickness_mm=float(rng.uniform(2.6, 5.2)),
        brow_arch_mm=float(rng.uniform(0.5, 3.5)),
        brow_density=float(rng.uniform(0.45, 0.97)),
        lash_length_mm=float(rng.uniform(1.5, 4.2)),
        lash_count=int(rng.integers(18, 42)),
        lash_strength=float(rng.uniform(0.65, 1.0)),
        lower_lash_strength=float(rng.uniform(0.1, 0.55)),
    )


def _draw_light(rng: np.random.Generator) -> Light:
    return Light(
        azimuth_deg=float(rng.uniform(-60, 60)),
        elevation_deg=float(rng.uniform(15, 65)),
        ambient=float(rng.uniform(0.15, 0.55)),
        glints=int(rng.choice([0, 1, 1, 1, 2])),
        glint_strength=float(rng.uniform(0.15, 1.4)),
        glint_mm=float(rng.uniform(0.3, 0.65)),
        shadow_strength=float(rng.uniform(0.15, 0.6) if rng.uniform() < 0.5 else 0.0),
        shadow_angle_deg=float(rng.uniform(0, 360)),
        shadow_offset=float(rng.uniform(-0.1, 0.45)),
    )


def _draw_camera(rng: np.random.Generator) -> Camera:
    warmth = rng.normal(0.09, 0.07)
    return Camera(
        exposure=float(rng.uniform(0.20, 0.50)),
        white_balance=_colour(np.exp([warmth, rng.normal(0, 0.03), -0.06 - 1.2 * warmth])),
        contrast=float(rng.uniform(1.1, 1.6)),
        blur_px=float(rng.uniform(0.1, 0.65)),
        noise=float(rng.uniform(0.6, 3.0)),
        zoom=float(rng.uniform(1.0, 1.42)),
        shift_px=(float(rng.normal(0, 0.9)), float(rng.normal(0, 0.9))),
    )


def _colour(rgb: np.ndarray) -> Colour:
    red, green, blue = (float(c) for c in rgb)
    return red, green, blue
