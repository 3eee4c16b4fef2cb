"""Lays one layer over another."""

from __future__ import annotations

import numpy as np

from mggr_tf.data.synthetic.compiled import compiled


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
