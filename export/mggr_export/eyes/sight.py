"""What is compared of redirected pictures: where they look, and their eye openings.

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
from tensorflow import keras

from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.contract import Conventions, GazeShown, OpeningParity, OpeningRegion
from mggr_edge.models.network_io import gaze_from_network, head_to_network
from mggr_tf.data.schema import EyeSamples
from mggr_tf.drawn_eyes.rendered import LANDMARKS

WIDE_DEG = 20.0
"""A shift beyond it is a hard one."""


@dataclass(frozen=True)
class Sight:
    """The run's own estimator, looking at what a redirector made of some pairs.

    It was a loss of the redirector's training and is no judge of how well that aims; of what a
    conversion changed it is.

    Attributes:
        estimator: in Keras.
        head_deg, source_deg, target_deg: [N, 2] of the pairs, (pitch, yaw).
        conventions: the scales.
    """

    estimator: keras.Model
    head_deg: NDArray[np.float32]
    source_deg: NDArray[np.float32]
    target_deg: NDArray[np.float32]
    conventions: Conventions

    @classmethod
    def of_pairs(
        cls,
        estimator: keras.Model,
        samples: EyeSamples,
        pairs: NDArray[np.int64],
        conventions: Conventions,
    ) -> Sight:
        """For pairs [N, 2] of indices, (source, target)."""
        source, target = pairs[:, 0], pairs[:, 1]
        return cls(
            estimator,
            head_deg=samples.head_deg[source],
            source_deg=samples.gaze_deg[source],
            target_deg=samples.gaze_deg[target],
            conventions=conventions,
        )

    @property
    def wide_share(self) -> float:
        """Part of the pairs whose target is more than `WIDE_DEG` away."""
        return float(np.mean(angular_error_deg(self.source_deg, self.target_deg) > WIDE_DEG))

    def compare(self, made: NDArray[np.float32], right: NDArray[np.float32]) -> GazeShown:
        """Mean angles to the target in pictures [N, H, W, 3] of an artifact and of Keras."""
        return GazeShown(error_deg=self._error_deg(made), keras_error_deg=self._error_deg(right))

    def _error_deg(self, pictures: NDArray[np.float32]) -> float:
        head = head_to_network(self.head_deg, self.conventions)
        seen = self.estimator({"eye": pictures, "head_pose": head}, training=False)
        gaze = gaze_from_network(np.asarray(seen["gaze"]), self.conventions)
        error = float(angular_error_deg(gaze, self.target_deg).mean())
        return float(f"{error:.4g}")


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
