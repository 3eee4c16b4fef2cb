"""Parameters that are equal in all images of one synthetic person.

`population` chooses the numbers in a `Subject` at random, and `render_eye` renders images from
these numbers. Lengths are in millimetres on the face, and angles are in degrees. Colours are
reflectances in linear RGB. A patch is a small image of one eye.

The parameters describe the right eye, for which the nose is on the right side of the image. The
left eye is the mirror image of the right eye.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Skin:
    """Colour and relief of the skin around the eye.

    Attributes:
        melanin: optical density of the melanin in the skin, from about 0.15 (very light skin) to
            2.2 (very dark skin).
        blood: optical density of the blood in the skin, from 0.15 to 0.5.
        dark_ring: additional pigment next to the eye opening, as a fraction of `melanin`.
        mottle: strength of large spots in the skin texture.
        pores: strength of fine details in the skin texture.
        socket_mm: distance by which the eye lies behind the brow.
        bag_mm: height of the bag under the eye.
        nose_mm: distance by which the root of the nose lies in front of the eye.
        shine: strength of the gloss of the skin.
        cheek_mm: distance by which the cheek lies in front of the lower rim of the socket.
        temple_mm: distance by which the temple lies behind the rim of the socket.
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
    """The eye opening between the lids at rest, and the motion of the lids.

    At rest, the gaze is straight ahead. The margin of a lid is its edge at the opening.

    Attributes:
        width_mm: distance between the corners of the eye.
        upper_mm: distance from the centre of the pupil up to the margin of the upper lid.
        lower_mm: distance from the centre of the pupil down to the margin of the lower lid.
        corner_drop_mm: distance from the centre of the pupil down to the line between the corners.
        nasal_mm: horizontal distance from the pupil to the middle of the opening. The value is
            positive if the middle is nearer to the nose.
        tilt_deg: tilt of the opening. The value is positive if the outer corner is higher than the
            inner corner.
        roundness: exponent of the lid curve. With 1, the curve is a sine arc. Smaller values make
            the opening more rectangular.
        skew: horizontal position of the highest point of the upper lid. With values above 1, this
            point is nearer to the nose.
        crease_mm: distance from the upper margin up to the fold of the lid. With values near 0, the
            fold covers the margin.
        crease_depth: strength of the fold.
        follow: factor for the vertical motion of the upper lid. The motion is this factor times the
            radius of the eyeball, times the sine of the gaze pitch relative to the head.
        lower_follow: as `follow`, but for the vertical motion of the lower lid.
        corner_follow: as `follow`, but for the vertical motion of the outer corner.
        slide: factor for the sideways motion of both lids and both corners. The motion is this
            factor times the radius of the eyeball, times the sine of the gaze yaw relative to the
            head.
        bulge_mm: height of the bulge of the lids over the cornea.
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
    bulge_mm: float


@dataclass(frozen=True)
class Eyeball:
    """Sizes and colours of the eyeball.

    Attributes:
        radius_mm: radius of the eyeball.
        iris_mm: radius of the iris.
        pivot_mm: distance from the eyeball's centre forward to the axis of vertical rotation. The
            axis of horizontal rotation passes through the centre.
        pupil_mm: radius of the pupil.
        iris: colour of the iris.
        limbus: strength of the dark ring at the edge of the iris.
        fibres: strength of the fibres in the iris.
        sclera: colour of the sclera, the white of the eye.
        redness: strength of the veins.
        wetness: brightness of the line of tear fluid at the lower lid.
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
    """Brow and lashes. Lengths are in mm, and densities and strengths are in [0, 1]."""

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
    """Make-up on the lids. Strengths are in [0, 1]. A strength of 0 means no make-up.

    Attributes:
        shadow: strength of the eye shadow.
        shadow_colour: colour of the eye shadow.
        shadow_mm: height of the eye shadow above the edge of the upper lid.
        liner: strength of the dark line along the edges of both lids.
        liner_mm: thickness of the dark line.
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
        squareness: exponent of the superellipse that forms the rim. With 2, the rim is an ellipse.
        drop_mm: distance from the eye down to the centre of the lens.
        nasal_mm: horizontal distance from the eye to the centre of the lens. The value is positive
            if the centre is nearer to the nose.
        rim_mm: thickness of the upper half of the rim. With 0, this half has no rim.
        lower_rim_mm: thickness of the lower half of the rim. With 0, this half has no rim.
        temple_mm: height of the arm to the ear.
        pad: whether the glasses have nose pads.
        stand_mm: distance from the eyeball's centre forward to the plane of the frame.
        colour: colour of the frame.
        tint: fraction of the light that the lens absorbs.
        glare: brightness of the main reflection in the lens. With 0, there is no main reflection.
        glare_x: horizontal position of the main reflection. 0 is the centre of the lens, and 1 is
            its edge.
        glare_y: vertical position of the main reflection. 0 is the centre of the lens, and 1 is its
            edge.
        glare_size: size of the main reflection, divided by half of the lens width.
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
        azimuth_deg: horizontal angle of the centre.
        elevation_deg: vertical angle of the centre.
        half_width_deg: half of the angular width, as seen from the eye.
        half_height_deg: half of the angular height, as seen from the eye.
        lights: weight of the direct light of this light source, relative to the other light
            sources.
        mirrored: brightness of the reflection of the light source on the cornea.
        round: True for a disc, False for a rectangle.
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
    """Illumination of the face: light sources, ambient light and one cast shadow.

    Attributes:
        emitters: light sources.
        ambient: fraction of the light that is ambient.
        shadow_strength: fraction of the direct light that the cast shadow removes.
        shadow_angle_deg: direction from the lit skin to the shadow, perpendicular to the edge of
            the shadow. 0 points to the right of the image, and 90 points up.
        shadow_offset: position of the shadow's edge along this direction, in units of 25 mm.
        slit_mm: height of the eye opening at which half of the light reaches the eyeball. The lids
            and the lashes block the other half.
    """

    emitters: tuple[Emitter, ...]
    ambient: float
    shadow_strength: float
    shadow_angle_deg: float
    shadow_offset: float
    slit_mm: float


@dataclass(frozen=True)
class Camera:
    """Camera and crop parameters of an image.

    Attributes:
        exposure: linear brightness of skin in the image, for skin with a reflectance of 0.30.
        white_balance: factors for red, green and blue.
        contrast: slope of the tone curve at middle grey.
        blur_px: standard deviation of the Gaussian blur, in pixels of a patch of 64 x 64 pixels.
        noise: standard deviation of the noise, in grey levels.
        resolution: resolution of the camera at the eye, as a fraction of the patch resolution.
        jpeg: JPEG quality of the stored image. 0 means no compression.
        zoom: size of the eye in the patch, relative to a patch without cropping error. The value is
            usually larger than 1, because landmark detectors place landmarks inside the visible
            corners of the eye.
        shift_px: mean error (x, y) of the crop position, in pixels of a patch of 64 x 64 pixels.
        follow: motion of the crop, as a fraction (x, y) of the motion of the iris. The crop moves
            because detected landmarks move with the iris.
        jitter_px: standard deviation of the crop position over all images, in pixels of a patch of
            64 x 64 pixels.
        zoom_jitter: standard deviation of the logarithm of the crop size over all images.
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
    """Parameters of one person, one illumination and one camera.

    `texture_seed` is the seed of the fine textures.
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
        """Return the parameters for rendering the left eye of the same person.

        `render_eye` mirrors the complete image of a left eye, including the light. Therefore the
        light in the returned parameters is already mirrored left to right. In the final image, the
        light then comes from the same side as for the right eye. The texture seed also differs from
        that of the right eye.
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
