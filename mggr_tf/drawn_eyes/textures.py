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
_VEIN_PX = 160
_VEIN_STEP, _VEIN_BLUR_PX = 0.055, 0.7


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
    count = int(rng.integers(14, 34))
    steps = rng.integers(5, 11, count)
    side = rng.choice([-1.0, 1.0], count)
    # A random walk of the heading's upright part; each step is as long as the last.
    rise = rng.normal(0, 0.25, count)[:, None] + np.cumsum(rng.normal(0, 0.35, (count, 10)), axis=1)
    length = np.sqrt(1 + rise**2)
    x = np.zeros((count, 11))
    y = np.zeros((count, 11))
    x[:, 0], y[:, 0] = side * rng.uniform(0.75, 1.1, count), rng.normal(0, 0.22, count)
    x[:, 1:] = x[:, :1] - side[:, None] * np.cumsum(_VEIN_STEP / length, axis=1)
    y[:, 1:] = y[:, :1] + np.cumsum(_VEIN_STEP * rise / length, axis=1)
    middle = (_VEIN_PX - 1) / 2
    paths = np.round(16 * (np.stack([x, -y], axis=-1) + 1) * middle).astype(np.int32)
    canvas = np.zeros((_VEIN_PX, _VEIN_PX), np.uint8)
    for path, number, level in zip(paths, steps, rng.uniform(60, 220, count), strict=True):
        cv2.polylines(canvas, [path[: number + 1]], False, int(level), 1, cv2.LINE_AA, 4)
    lines = cv2.GaussianBlur(canvas.astype(np.float32) / 60, (0, 0), _VEIN_BLUR_PX)
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
    # Walls and windows stand upright: more changes across than up and down.
    coarse = rng.standard_normal((3, 6), dtype=np.float32)
    room = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.45 + 0.4 * room, 0, 1).astype(np.float32)
