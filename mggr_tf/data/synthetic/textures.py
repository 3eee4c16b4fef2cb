"""Fixed fine texture of one person's eyeball: noise that turns with it.

A person's textures are made once and kept while that person is being drawn;
the cache is a matter of speed only, as they are pure functions of the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

_FIBRE_ANGLES, _FIBRE_RADII = 256, 32
_VEIN_PX = 128


@dataclass(frozen=True, eq=False)
class Textures:
    """Noise fields of mean 0 and standard deviation about 1.

    Attributes:
        veins: [n, n] branching lines over the front of the eyeball, its pole in the middle.
        fibres: [radii, angles] of the iris; angles wrap.
    """

    veins: NDArray[np.float32]
    fibres: NDArray[np.float32]


@lru_cache(maxsize=4)
def textures_of(texture_seed: int) -> Textures:
    """Draws a person's textures."""
    rng = np.random.default_rng([texture_seed, 2])
    return Textures(veins=_veins(rng), fibres=_iris_fibres(rng))


def _veins(rng: np.random.Generator) -> NDArray[np.float32]:
    """Wandering lines from both corners towards the iris, over soft blotches."""
    canvas = np.zeros((_VEIN_PX, _VEIN_PX), np.uint8)
    middle = (_VEIN_PX - 1) / 2
    for _ in range(int(rng.integers(14, 34))):
        side = rng.choice([-1.0, 1.0])
        start = np.array([side * rng.uniform(0.75, 1.1), rng.normal(0, 0.22)])
        heading = np.array([-side, rng.normal(0, 0.25)])
        points = [start]
        for _ in range(int(rng.integers(5, 11))):
            heading = heading + [0, rng.normal(0, 0.35)]
            points.append(points[-1] + 0.055 * heading / np.linalg.norm(heading))
        path = np.stack(points) * [1, -1] * middle + middle
        fixed = np.round(path * 16).astype(np.int32)
        cv2.polylines(canvas, [fixed], False, int(rng.uniform(60, 220)), 1, cv2.LINE_AA, 4)
    lines = cv2.GaussianBlur(canvas.astype(np.float32) / 60, (0, 0), 0.8)
    coarse = rng.standard_normal((9, 9), dtype=np.float32)
    blotches = cv2.resize(coarse, (_VEIN_PX, _VEIN_PX), interpolation=cv2.INTER_CUBIC)
    return (lines + 0.5 * blotches - 0.4).astype(np.float32)


def _iris_fibres(rng: np.random.Generator) -> NDArray[np.float32]:
    # Fibres run outwards: much detail round the circle, little along the radius.
    fibres = np.zeros((_FIBRE_RADII, _FIBRE_ANGLES), np.float32)
    for angles, radii, weight in ((24, 3, 1.0), (60, 3, 0.8), (12, 6, 0.6)):
        coarse = rng.standard_normal((radii, angles), dtype=np.float32)
        wrapped = np.concatenate([coarse, coarse, coarse], axis=1)
        size = (3 * _FIBRE_ANGLES, _FIBRE_RADII)
        fine = cv2.resize(wrapped, size, interpolation=cv2.INTER_CUBIC)
        fibres += weight * fine[:, _FIBRE_ANGLES : 2 * _FIBRE_ANGLES]
    return ((fibres - fibres.mean()) / fibres.std()).astype(np.float32)


@lru_cache(maxsize=8)
def reflections(texture_seed: int, size_px: int) -> NDArray[np.float32]:
    """[n, n] in [0, 1]: a blurred room as a lens mirrors it, with bright and dark parts."""
    rng = np.random.default_rng([texture_seed, 5])
    coarse = rng.standard_normal((5, 7), dtype=np.float32)
    room = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.35 + 0.9 * room, 0, 1).astype(np.float32)
