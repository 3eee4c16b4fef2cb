"""Appearance parameters of a synthetic eye in one image, and functions that blend layers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.subject import Subject
from mggr_tf.drawn_eyes.textures import Textures, skin_colour


class Look(NamedTuple):
    """Appearance parameters of a person for the functions that paint an image.

    The module `subject` describes the fields that are not listed here.

    Attributes:
        lit: 1 to paint light and shadow, 0 to paint the plain colours.
        lash_line: strength of the upper lashes.
        lower_lash_line: strength of the lower lashes.
        skin: [3] skin colour without light and texture, linear RGB.
        flesh: [3] colour of the flesh at the corners of the eye, linear RGB.
        pupil: radius of the pupil, as a fraction of the iris radius.
        veins_map: texture of the veins; see `textures.Textures`.
        fibres_map: texture of the fibres in the iris; see `textures.Textures`.
        lash: [3] colour of the lashes, linear RGB.
    """

    lit: float
    ambient: float
    shine: float
    slit_mm: float
    crease_depth: float
    bag_mm: float
    bulge_mm: float
    lash_line: float
    lower_lash_line: float
    skin: NDArray[np.float64]
    flesh: NDArray[np.float64]
    sclera: NDArray[np.float64]
    iris: NDArray[np.float64]
    pupil: float
    limbus: float
    fibres: float
    redness: float
    wetness: float
    veins_map: NDArray[np.float32]
    fibres_map: NDArray[np.float32]
    lash: NDArray[np.float64]


def look_of(subject: Subject, textures: Textures, *, lit: bool = True) -> Look:
    """Return the appearance parameters of a subject."""
    eyeball, hair, skin = subject.eyeball, subject.hair, subject.skin
    tone = skin_colour(skin).astype(np.float64)
    # The skin reflects about half of the light in the eye socket. Therefore this light has a
    # similar colour to the skin.
    glow = (0.45 + 0.55 * (tone / tone[0]) ** 0.7) * 0.75 * (1 + tone[0]) if lit else 1.0
    # The colour of wet flesh is similar for all people. The flesh lies in the shadow of the lids.
    flesh = (0.55 - 0.19 * min(skin.melanin, 2.2)) * np.array([0.42, 0.17, 0.14])
    return Look(
        lit=float(lit),
        ambient=subject.light.ambient,
        shine=skin.shine,
        slit_mm=subject.light.slit_mm,
        crease_depth=subject.lids.crease_depth,
        bag_mm=skin.bag_mm,
        bulge_mm=subject.lids.bulge_mm,
        lash_line=hair.lash_strength,
        lower_lash_line=hair.lower_lash_strength,
        skin=tone,
        flesh=flesh,
        sclera=np.asarray(eyeball.sclera) * glow,
        iris=np.asarray(eyeball.iris),
        pupil=eyeball.pupil_mm / eyeball.iris_mm,
        limbus=eyeball.limbus,
        fibres=eyeball.fibres,
        redness=eyeball.redness,
        wetness=eyeball.wetness,
        veins_map=textures.veins,
        fibres_map=textures.fibres,
        lash=np.asarray(hair.lash_colour),
    )


@compiled
def lay_over(
    picture: np.ndarray, cover: np.ndarray, opacity: float, red: float, green: float, blue: float
) -> None:
    """Blend a layer of one colour over an image. The function changes the image.

    Args:
        picture: [H, W, 3] float32 image in linear RGB.
        cover: [H, W] uint8 coverage of the layer; 255 means full coverage.
        opacity: opacity of the layer at full coverage, in [0, 1].
        red: linear red value of the layer.
        green: linear green value of the layer.
        blue: linear blue value of the layer.
    """
    share = opacity / 255
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            if cover[i, j] > 0:
                by = share * cover[i, j]
                picture[i, j, 0] += by * (red - picture[i, j, 0])
                picture[i, j, 1] += by * (green - picture[i, j, 1])
                picture[i, j, 2] += by * (blue - picture[i, j, 2])


@compiled
def lay_glass_over(
    picture: np.ndarray, cover: np.ndarray, tint: float, mirrored: np.ndarray
) -> None:
    """Blend a layer of glass over an image. The function changes the image.

    Args:
        picture: [H, W, 3] float32 image in linear RGB.
        cover: [H, W] uint8 coverage of the glass; 255 means full coverage.
        tint: fraction of the light that the glass absorbs.
        mirrored: [H, W] float32 light that the glass reflects.
    """
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            if cover[i, j] > 0:
                share = cover[i, j] / 255.0
                for k in range(3):
                    left = picture[i, j, k] * (1 - tint * share)
                    picture[i, j, k] = left + share * mirrored[i, j]
