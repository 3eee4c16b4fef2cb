"""Eight ways to hold a camera, and how a stored picture is turned upright.

Named by EXIF's numbers: 1 is upright; 2, 4, 5 and 7 are mirrored; 3 is upside
down; 6 wants a quarter turn clockwise and 8 one counter-clockwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

UPRIGHT = 1

_FROM_DISPLAY_MATRIX = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def upright(image: NDArray, orientation: int) -> NDArray:
    """Turns a stored picture as it is to be seen.

    Args:
        image: [H, W] or [H, W, C].
        orientation: EXIF's number, 1 to 8.

    Returns:
        The same pixels, C-contiguous; height and width change places from 5 on.

    Example:
        >>> upright(np.array([[1, 2]]), 6)  # a quarter turn clockwise
        array([[1],
               [2]])
    """
    if orientation >= 5:
        image = np.swapaxes(image, 0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def orientation_of_display_matrix(matrix: ArrayLike) -> int:
    """Reads the orientation off a video's display matrix.

    Args:
        matrix: [9] 16.16 fixed-point numbers (a b u, c d v, x y w): the stored
            point (p, q) is shown at (a p + c q + x, b p + d q + y).

    Raises:
        ValueError: the matrix is no quarter turn or mirror image.
    """
    a, b, _, c, d = np.asarray(matrix, np.float64)[:5]
    largest = max(abs(a), abs(b), 1.0)
    key = tuple(round(value / largest) for value in (a, b, c, d))
    is_quarter_turn = min(abs(a), abs(b)) < 1e-3 * largest
    if not is_quarter_turn or key not in _FROM_DISPLAY_MATRIX:
        raise ValueError(f"the display matrix {key} is no quarter turn")
    return _FROM_DISPLAY_MATRIX[key]
