"""The look of a drawn eye in one picture, and the layers it is painted in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.subject import Subject
from mggr_tf.drawn_eyes.textures import Textures, skin_colour


class Look(NamedTuple):
    """A person's numbers, as the painter needs them; see `subject` for their meaning.

    Attributes:
        lit: 1 for light and shadow, 0 for the bare colours.
    """

    lit: float
    ambient: float
    shine: float
    crease_depth: float
    bag_mm: float
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
    """Collects the painter's numbers."""
    eyeball, hair, skin = subject.eyeball, subject.hair, subject.skin
    tone = skin_colour(skin).astype(np.float64)
    # Half of the light in the socket comes off the skin, and takes its tone.
    glow = (0.45 + 0.55 * (tone / tone[0]) ** 0.7) * 0.75 * (1 + tone[0]) if lit else 1.0
    # Wet flesh differs little between people; it lies in the lids' shade.
    flesh = (0.55 - 0.19 * min(skin.melanin, 2.2)) * np.array([0.42, 0.17, 0.14])
    return Look(
        lit=float(lit),
        ambient=subject.light.ambient,
        shine=skin.shine,
        crease_depth=subject.lids.crease_depth,
        bag_mm=skin.bag_mm,
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
    """Covers a picture by one colour, in place.

    Args:
        picture: [H, W, 3] float32.
        cover: [H, W] uint8, 255 where the layer is whole.
        opacity: of the layer where it is whole.
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
    """Puts glass before a picture, in place.

    Args:
        picture: [H, W, 3] float32.
        cover: [H, W] uint8, 255 where there is glass.
        tint: share of the light that the glass takes.
        mirrored: [H, W] float32 light that it mirrors.
    """
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            if cover[i, j] > 0:
                share = cover[i, j] / 255.0
                for k in range(3):
                    left = picture[i, j, k] * (1 - tint * share)
                    picture[i, j, k] = left + share * mirrored[i, j]
