"""Who is looking: everything that stays the same from picture to picture of one person.

A `Subject` holds numbers only; `population` draws them from a seed, `render_eye` turns
them into pictures. Lengths are millimetres on the face, angles degrees, colours
linear RGB reflectances. The eye described is the right one (nose on the
image's right); the left one is its mirror image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

Colour = tuple[float, float, float]


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
        cheek_mm: how far the cheek stands before the socket's lower rim.
        temple_mm: how far the temple falls back behind it.
        freckles: number of spots round the eye.
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
    cheek_mm: float
    temple_mm: float
    freckles: int


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
        follow: the upper lid's way up and down as a share of the eyeball's radius times the
            sine of the pitch in the head.
        lower_follow: the lower lid's.
        corner_follow: the outer corner's.
        slide: way of both lids and corners sideways, as a share of the radius times the sine of
            the yaw.
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
    lower_follow: float
    corner_follow: float
    slide: float


@dataclass(frozen=True)
class Eyeball:
    """The globe. `iris` is a colour, `limbus` the dark ring's strength, `redness` the veins'.

    Attributes:
        pivot_mm: how far in front of the globe's centre it turns up and down; sideways it turns
            about its centre.
    """

    radius_mm: float
    iris_mm: float
    pivot_mm: float
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
class Makeup:
    """Colour on the lids; strengths in [0, 1], 0 for none.

    Attributes:
        shadow, shadow_colour, shadow_mm: eye shadow and how far above the margin it reaches.
        liner, liner_mm: dark line along the margins and its thickness.
    """

    shadow: float
    shadow_colour: Colour
    shadow_mm: float
    liner: float
    liner_mm: float


@dataclass(frozen=True)
class Glasses:
    """A frame before the eye.

    Attributes:
        width_mm, height_mm: of one lens.
        squareness: exponent of the rim's superellipse; 2 is an ellipse.
        drop_mm: the lens's middle below the eye.
        nasal_mm: towards the nose from the eye.
        rim_mm: thickness of the upper half of the rim; 0 for none.
        lower_rim_mm: of its lower half.
        temple_mm: height of the arm to the ear.
        pad: whether pads rest on the nose.
        stand_mm: distance of the frame's plane before the eyeball's centre.
        colour: of the rim.
        tint: share of the light that the lens takes.
        glare: brightness of what the lens mirrors.
        glare_x, glare_y: where, in lens half-axes from its middle.
        glare_size: of the mirror image, in lens half-axes.
        veil: brightness of the room that the lens mirrors.
    """

    width_mm: float
    height_mm: float
    squareness: float
    drop_mm: float
    nasal_mm: float
    rim_mm: float
    lower_rim_mm: float
    temple_mm: float
    pad: bool
    stand_mm: float
    colour: Colour
    tint: float
    glare: float
    glare_x: float
    glare_y: float
    glare_size: float
    veil: float


@dataclass(frozen=True)
class Emitter:
    """Something bright: a lamp, a window, a screen. Degrees; + is image right and up.

    Attributes:
        azimuth_deg, elevation_deg: of its middle.
        half_width_deg, half_height_deg: its size as the eye sees it.
        lights: its share of the direct light.
        mirrored: brightness of its mirror image on the cornea.
        round: a disc, not a box.
    """

    azimuth_deg: float
    elevation_deg: float
    half_width_deg: float
    half_height_deg: float
    lights: float
    mirrored: float
    round: bool


@dataclass(frozen=True)
class Light:
    """What lights the face: emitters, the ambient share, and a cast shadow's edge."""

    emitters: tuple[Emitter, ...]
    ambient: float
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
        blur_px: sigma in pixels of a 64-pixel patch.
        noise: standard deviation in grey levels.
        resolution: share of the patch's pixels that the camera had across the eye.
        jpeg: quality of the stored picture; 0 for none.
        zoom: eye's size against the exact crop. Landmarks lie inside the
            visible corners, so crops in circulation show the eye larger.
        shift_px: (x, y) error of the crop in pixels of a 64-pixel patch.
        follow: share of the iris's way, (x, y) from straight ahead in the head, by which the
            crop follows it: landmarks do.
        jitter_px: standard deviation of the crop's error from picture to picture.
        zoom_jitter: the same of its size, as a logarithm.
    """

    exposure: float
    white_balance: Colour
    contrast: float
    blur_px: float
    noise: float
    resolution: float
    jpeg: int
    zoom: float
    shift_px: tuple[float, float]
    follow: tuple[float, float]
    jitter_px: float
    zoom_jitter: float


@dataclass(frozen=True)
class Subject:
    """One person under one light before one camera; `texture_seed` fixes the fine texture."""

    skin: Skin
    lids: Lids
    eyeball: Eyeball
    hair: Hair
    makeup: Makeup
    glasses: Glasses | None
    light: Light
    camera: Camera
    texture_seed: int

    def other_eye(self) -> Subject:
        """The same person with the light coming from the other side.

        `render_eye` mirrors the left eye whole, light too. Drawing the left eye of
        `other_eye()` puts the lamp back where it stood for the right one.
        """
        light = self.light
        turned = dataclasses.replace(
            light,
            emitters=tuple(
                dataclasses.replace(e, azimuth_deg=-e.azimuth_deg) for e in light.emitters
            ),
            shadow_angle_deg=180 - light.shadow_angle_deg,
        )
        return dataclasses.replace(self, light=turned, texture_seed=self.texture_seed ^ 1)
