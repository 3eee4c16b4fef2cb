"""Lays one layer over another, in one pass."""

from __future__ import annotations

import numpy as np

from mggr_tf.drawn_eyes.compiled import compiled


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
