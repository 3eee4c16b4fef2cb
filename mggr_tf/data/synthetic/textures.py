"""Fixed fine texture of one person: noise that does not move between pictures.

A person's textures are made once and kept while that person is being drawn;
the cache is a matter of speed only, as they are pure functions of the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mggr_tf.data.synthetic.layout import Field

_FIBRE_ANGLES, _FIBRE_RADII = 256, 32


@dataclass(frozen=True)
class Textures:
    """Noise fields of mean 0 and standard deviation about 1.

    Attributes:
        mottle: [n, n] blotches of 2-6 mm.
        flush: [n, n] other blotches, of the blood.
        pores: [n, n] fine grain.
        hairs: [n, n] streaks that run along the brow and slightly up.
        veins: [n, n] blotches drawn out sideways.
        fibres: [radii, angles] of the iris; angles wrap.
    """

    mottle: Field
    flush: Field
    pores: Field
    hairs: Field
    veins: Field
    fibres: Field


@lru_cache(maxsize=4)
def textures_of(texture_seed: int, size_px: int) -> Textures:
    """Draws a person's textures for a fine picture of this side."""
    rng = np.random.default_rng(texture_seed)
    return Textures(
        mottle=_unit(
            _noise(rng, (7, 7), size_px)
            + 0.8 * _noise(rng, (14, 14), size_px)
            + 0.4 * _noise(rng, (28, 28), size_px)
        ),
        flush=_unit(_noise(rng, (5, 5), size_px) + 0.5 * _noise(rng, (18, 18), size_px)),
        pores=_unit(cv2.GaussianBlur(_noise(rng, (size_px, size_px), size_px), (0, 0), 1.0)),
        hairs=_tilted(_unit(_noise(rng, (3 * size_px // 4, size_px // 8), size_px)), -22.0),
        veins=_unit(_noise(rng, (26, 9), size_px)),
        fibres=_iris_fibres(rng),
    )


def _noise(rng: np.random.Generator, grid: tuple[int, int], size_px: int) -> Field:
    coarse = rng.standard_normal(grid, dtype=np.float32)
    return cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)


def _tilted(field: Field, degrees: float) -> Field:
    n = field.shape[0]
    turn = cv2.getRotationMatrix2D(((n - 1) / 2, (n - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(field, turn, (n, n), borderMode=cv2.BORDER_REFLECT)


def _iris_fibres(rng: np.random.Generator) -> Field:
    # Fibres run outwards: much detail round the circle, little along the radius.
    fibres = np.zeros((_FIBRE_RADII, _FIBRE_ANGLES), np.float32)
    for angles, radii, weight in ((24, 3, 1.0), (60, 3, 0.8), (12, 6, 0.6)):
        coarse = rng.standard_normal((radii, angles), dtype=np.float32)
        wrapped = np.concatenate([coarse, coarse, coarse], axis=1)
        size = (3 * _FIBRE_ANGLES, _FIBRE_RADII)
        fine = cv2.resize(wrapped, size, interpolation=cv2.INTER_CUBIC)
        fibres += weight * fine[:, _FIBRE_ANGLES : 2 * _FIBRE_ANGLES]
    return _unit(fibres)


def _unit(field: Field) -> Field:
    return ((field - field.mean()) / field.std()).astype(np.float32)
