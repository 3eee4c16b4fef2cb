"""Parameters of a person that stay the same in all images of that person.

A `Subject` holds numbers only. `population` draws them from a seed, and `render_eye` renders
images from them. Lengths are in millimetres on the face, angles in degrees, and colours are
linear RGB reflectances. The parameters describe the right eye (the nose is on the image's
right); the left eye is its mirror image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Skin:
    """Colour and relief of the skin around the eye.

    Attributes:
        melanin: optical density of the melanin, about 0.15 (very light) to 2.2 (very dark).
        blood: optical density of the blood, 0.15 to 0.5.
        dark_ring: extra pigment next to the eye opening, as a fraction of the density.
        mottle: strength of the low-frequency texture.
        pores: strength of the fine texture.
        socket_mm: depth of the eye behind the brow.
        bag_mm: height of the bag under the eye.
        nose_mm: distance of the nose's root in front of the eye.
        shine: strength of the skin's gloss.
        cheek_mm: distance of the cheek in front of the socket's lower rim.
        temple_mm: distance of the temple behind the socket's rim.
        freckles: number of freckles around the eye.
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
    """The eye opening between the lids, at rest while the eye gazes straight ahead.

    Attributes:
        width_mm: distance between the corners.
        upper_mm: height of the upper lid's margin above the pupil's centre.
        lower_mm: distance of the lower lid's margin below the pupil's centre.
        corner_drop_mm: distance of the line between the corners below the pupil's centre.
        nasal_mm: horizontal offset of the opening's middle from the pupil, positive towards the
            nose.
        tilt_deg: tilt of the opening, positive if the outer corner is higher than the inner one.
        roundness: exponent of the lid curve: a small value is boxy, 1 is a sine arc.
        skew: horizontal position of the upper lid's highest point; above 1, it is nearer to the
            nose.
        crease_mm: height of the fold above the upper margin; near 0, the fold covers the margin.
        crease_depth: strength of the fold.
        follow: vertical motion of the upper lid, as a fraction of the eyeball's radius times the
            sine of the gaze pitch relative to the head.
        lower_follow: vertical motion of the lower lid, in the same unit as `follow`.
        corner_follow: vertical motion of the outer corner, in the same unit as `follow`.
        slide: sideways motion of both lids and corners, as a fraction of the eyeball's radius
            times the sine of the gaze yaw relative to the head.
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
    """Sizes and colours of the eyeball.

    Attributes:
        radius_mm: radius of the eyeball.
        iris_mm: radius of the iris.
        pivot_mm: distance of the axis of vertical rotation in front of the eyeball's centre. The
            eyeball rotates sideways about its centre.
        pupil_mm: radius of the pupil.
        iris: colour of the iris.
        limbus: strength of the dark ring at the iris's edge.
        fibres: strength of the iris's fibres.
        sclera: colour of the sclera.
        redness: strength of the veins.
        wetness: brightness of the tear line.
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
    """Brow and lashes. Lengths are in mm; densities and strengths are in [0, 1]."""

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
    """Make-up on the lids. Strengths are in [0, 1]; 0 means none.

    Attributes:
        shadow: strength of the eye shadow.
        shadow_colour: colour of the eye shadow.
        shadow_mm: height of the eye shadow above the upper margin.
        liner: strength of the dark line along the margins.
        liner_mm: thickness of that line.
    """

    shadow: float
    shadow_colour: Colour
    shadow_mm: float
    liner: float
    liner_mm: float


@dataclass(frozen=True)
class Glasses:
    """Glasses in front of the eye.

    Attributes:
        width_mm: width of one lens.
        height_mm: height of one lens.
        squareness: exponent of the rim's superellipse; 2 is an ellipse.
        drop_mm: distance of the lens's centre below the eye.
        nasal_mm: offset of the lens's centre from the eye, positive towards the nose.
        rim_mm: thickness of the upper half of the rim; 0 for none.
        lower_rim_mm: thickness of the lower half of the rim; 0 for none.
        temple_mm: height of the arm to the ear.
        pad: whether the glasses have nose pads.
        stand_mm: distance of the frame's plane in front of the eyeball's centre.
        colour: colour of the frame.
        tint: fraction of the light that the lens absorbs.
        glare: brightness of the bright reflection in the lens; 0 for none.
        glare_x: horizontal position of that reflection, in lens half-axes from the lens's centre.
        glare_y: vertical position of that reflection, in lens half-axes from the lens's centre.
        glare_size: size of that reflection, in lens half-axes.
        veil: brightness of the reflection of the room in the lens.
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
    """A light source: a lamp, a window or a screen.

    Angles are in degrees, positive towards the image's right and up.

    Attributes:
        azimuth_deg: azimuth of the centre.
        elevation_deg: elevation of the centre.
        half_width_deg: half of the angular width, seen from the eye.
        half_height_deg: half of the angular height, seen from the eye.
        lights: weight of its direct light relative to the other emitters.
        mirrored: brightness of its reflection on the cornea.
        round: True for a disc, False for a box.
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
    """Illumination of the face: emitters, ambient light and the edge of a cast shadow.

    Attributes:
        emitters: light sources.
        ambient: fraction of the light that is ambient.
        shadow_strength: fraction of the direct light that the cast shadow removes.
        shadow_angle_deg: direction across the shadow's edge, towards the shadow; 0 is the image's
            right, 90 is up.
        shadow_offset: position of the shadow's edge along that direction, in units of 25 mm.
    """

    emitters: tuple[Emitter, ...]
    ambient: float
    shadow_strength: float
    shadow_angle_deg: float
    shadow_offset: float


@dataclass(frozen=True)
class Camera:
    """Camera and crop parameters of an image.

    Attributes:
        exposure: linear brightness in the image of skin with a reflectance of 0.30.
        white_balance: gains of red, green and blue.
        contrast: slope of the tone curve at middle grey.
        blur_px: sigma of the Gaussian blur, in pixels of a 64-pixel patch.
        noise: standard deviation of the noise, in grey levels.
        resolution: camera resolution across the eye, as a fraction of the patch's resolution.
        jpeg: JPEG quality of the stored image; 0 for no compression.
        zoom: size of the eye relative to the exact crop. Face landmarks lie inside the visible
            corners, so the crops of landmark detectors show the eye larger.
        shift_px: (x, y) mean error of the crop position, in pixels of a 64-pixel patch.
        follow: fraction, (x, y), of the iris's displacement from straight ahead in the head by
            which the crop moves, because landmarks follow the iris.
        jitter_px: standard deviation of the crop position between images, in pixels of a
            64-pixel patch.
        zoom_jitter: standard deviation of the logarithm of the crop size between images.
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
    """One person under one illumination, seen by one camera.

    The seed `texture_seed` determines the fine textures.
    """

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
        """Return the same person with the light mirrored left to right.

        `render_eye` mirrors the complete image of a left eye, including its light. To keep the
        light where it is for the right eye, render the left eye of `other_eye()`. The copy also
        has a different texture seed.
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
