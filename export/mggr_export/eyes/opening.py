"""The eye opening of compared patches, and the error of redirected pictures inside it.

Three quarters of a patch are skin that a redirector leaves nearly alone, and a device shows
nothing of it. A conversion that spoils irises therefore shows better inside the opening than over
the whole picture.

The opening is the region between the lids of the source patch: two parabolas through the corners
of the eye and the middles of the lid margins, where the samples have these landmarks (drawn eyes
have). Elsewhere it is the gazemap's eyeball disc, of which lids cover some. A record names the
region that was used, since the two are no exact substitutes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.contract import Conventions, OpeningParity, OpeningRegion
from mggr_tf.data.schema import EyeSamples
from mggr_tf.drawn_eyes.rendered import LANDMARKS

_SPAN = 2.0
"""Pictures lie in [-1, 1]."""

_OUTER, _INNER, _UPPER, _LOWER = (
    LANDMARKS.index(name) for name in ("outer corner", "inner corner", "upper lid", "lower lid")
)


@dataclass(frozen=True)
class Openings:
    """The eye openings of N compared patches.

    Attributes:
        inside: [N, H, W], True inside the opening.
        region: how it was found.
    """

    inside: NDArray[np.bool_]
    region: OpeningRegion

    @classmethod
    def of_pairs(
        cls, samples: EyeSamples, pairs: NDArray[np.int64], conventions: Conventions
    ) -> Openings:
        """Of the source patches of pairs [N, 2] of indices, (source, target)."""
        size_px = conventions.patch_size
        if samples.landmarks is not None:
            points = samples.landmarks[pairs[:, 0]]
            return cls(np.stack([_between_lids(eye, size_px) for eye in points]), "lids")
        disc = draw_gazemap((0.0, 0.0), size_px=size_px, k=conventions.gazemap_k)[..., 1] >= 0.5
        return cls(np.broadcast_to(disc, (len(pairs), *disc.shape)), "eyeball disc")

    def compare(self, made: NDArray[np.float32], right: NDArray[np.float32]) -> OpeningParity:
        """PSNR of pictures [N, H, W, 3] against those of Keras, over all openings together."""
        difference = (made.astype(np.float64) - right)[self.inside]  # [pixels, 3]
        rms = float(np.sqrt(np.mean(difference**2))) if len(difference) else 0.0
        psnr_db = None if rms == 0 else float(f"{20 * np.log10(_SPAN / rms):.4g}")
        return OpeningParity(self.region, share=float(f"{self.inside.mean():.3g}"), psnr_db=psnr_db)


def _between_lids(points: NDArray[np.float32], size_px: int) -> NDArray[np.bool_]:
    """[H, W], True between the lids of an eye with landmarks [K, 2]."""
    corners = np.stack([points[_OUTER], points[_INNER]]).astype(float)
    along = corners[1] - corners[0]
    width_px = float(np.hypot(*along))
    if width_px == 0:
        return np.zeros((size_px, size_px), bool)
    x, y = np.meshgrid(np.arange(size_px), np.arange(size_px))
    axis, down = along / width_px, np.array([-along[1], along[0]]) / width_px
    down = down if down[1] > 0 else -down
    from_corner = np.stack([x, y], axis=-1) - corners[0]
    t, depth = from_corner @ axis / width_px, from_corner @ down
    edges = [
        _parabola(t, *(_place(points[lid] - corners[0], axis / width_px, down)))
        for lid in (_UPPER, _LOWER)
    ]
    return (t > 0) & (t < 1) & (edges[0] < depth) & (depth < edges[1])


def _place(
    point: NDArray[np.float64], along: NDArray[np.float64], down: NDArray[np.float64]
) -> tuple[float, float]:
    """A lid's middle as (share of the eye's width, pixels below the line of the corners)."""
    return float(np.clip(point @ along, 0.1, 0.9)), float(point @ down)


def _parabola(t: NDArray[np.float64], through: float, depth: float) -> NDArray[np.float64]:
    """Depth of the parabola through both corners, 0 and 1, and one point between."""
    return depth * t * (1 - t) / (through * (1 - through))
