"""Comparison of redirected pictures: gaze direction and eye openings.

Three quarters of a patch are skin. A redirector hardly changes the skin, and a device does not
display it. Damage to an iris by the conversion is therefore more visible in the PSNR inside the
eye opening than in the PSNR of the whole picture.

The opening is the region between the lids of the source patch. If the samples have landmarks, as
synthetic eyes do, two parabolas through the eye corners and the middles of the lid margins bound
the region. Otherwise the region is the eyeball disc of the gazemap, which the lids partly cover.
The record names the region that was used, because the two regions are not fully equivalent.
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
"""Gaze shifts above this angle in degrees are wide, that is, difficult."""


@dataclass(frozen=True)
class Sight:
    """Gaze comparison of redirected pictures, measured by the run's own estimator.

    The estimator was part of a loss of the redirector. It is therefore not a valid measure of the
    redirector's accuracy, but it is a valid measure of the changes that a conversion causes.

    Attributes:
        estimator: Keras estimator.
        head_deg, source_deg, target_deg: [N, 2] head pose, source gaze and target gaze of the
            pairs, in degrees (pitch, yaw).
        conventions: Scales of the network inputs and outputs.
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
        """Return the comparison for pairs [N, 2] of indices (source, target)."""
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
        """Fraction of the pairs whose target is more than `WIDE_DEG` from the source gaze."""
        return float(np.mean(angular_error_deg(self.source_deg, self.target_deg) > WIDE_DEG))

    def compare(self, made: NDArray[np.float32], right: NDArray[np.float32]) -> GazeShown:
        """Return the mean gaze errors of an artifact and of Keras.

        Args:
            made: [N, H, W, 3] redirected pictures of the artifact, in [-1, 1].
            right: [N, H, W, 3] redirected pictures of Keras, in [-1, 1].
        """
        return GazeShown(error_deg=self._error_deg(made), keras_error_deg=self._error_deg(right))

    def _error_deg(self, pictures: NDArray[np.float32]) -> float:
        head = head_to_network(self.head_deg, self.conventions)
        seen = self.estimator({"eye": pictures, "head_pose": head}, training=False)
        gaze = gaze_from_network(np.asarray(seen["gaze"]), self.conventions)
        error = float(angular_error_deg(gaze, self.target_deg).mean())
        return float(f"{error:.4g}")


_SPAN = 2.0
"""Size of the value range of pictures, which is [-1, 1]."""

_OUTER, _INNER, _UPPER, _LOWER = (
    LANDMARKS.index(name) for name in ("outer corner", "inner corner", "upper lid", "lower lid")
)


@dataclass(frozen=True)
class Openings:
    """Eye openings of N compared patches.

    Attributes:
        inside: [N, H, W] bool, True inside the opening.
        region: Kind of the region: between the lids, or the eyeball disc.
    """

    inside: NDArray[np.bool_]
    region: OpeningRegion

    @classmethod
    def of_pairs(
        cls, samples: EyeSamples, pairs: NDArray[np.int64], conventions: Conventions
    ) -> Openings:
        """Return the openings of the source patches of pairs.

        Args:
            samples: Eye patches.
            pairs: [N, 2] indices (source, target).
            conventions: Patch size, and scale of the gazemap.
        """
        size_px = conventions.patch_size
        if samples.landmarks is not None:
            points = samples.landmarks[pairs[:, 0]]
            return cls(np.stack([_between_lids(eye, size_px) for eye in points]), "lids")
        disc = draw_gazemap((0.0, 0.0), size_px=size_px, k=conventions.gazemap_k)[..., 1] >= 0.5
        return cls(np.broadcast_to(disc, (len(pairs), *disc.shape)), "eyeball disc")

    def compare(self, made: NDArray[np.float32], right: NDArray[np.float32]) -> OpeningParity:
        """Return the PSNR against Keras, over the pixels of all openings together.

        Args:
            made: [N, H, W, 3] redirected pictures of the artifact, in [-1, 1].
            right: [N, H, W, 3] redirected pictures of Keras, in [-1, 1].
        """
        difference = (made.astype(np.float64) - right)[self.inside]  # [pixels, 3]
        rms = float(np.sqrt(np.mean(difference**2))) if len(difference) else 0.0
        psnr_db = None if rms == 0 else float(f"{20 * np.log10(_SPAN / rms):.4g}")
        return OpeningParity(self.region, share=float(f"{self.inside.mean():.3g}"), psnr_db=psnr_db)


def _between_lids(points: NDArray[np.float32], size_px: int) -> NDArray[np.bool_]:
    """Return a mask [H, W], True between the lids of an eye with landmarks [K, 2]."""
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
    """Return the position of a lid's middle relative to the line between the eye corners.

    Returns:
        Position along the line as a fraction of the eye width, clipped to [0.1, 0.9], and pixels
        below the line.
    """
    return float(np.clip(point @ along, 0.1, 0.9)), float(point @ down)


def _parabola(t: NDArray[np.float64], through: float, depth: float) -> NDArray[np.float64]:
    """Return the depth at `t` of a parabola through both eye corners and one point between them.

    The corners are at t = 0 and t = 1 with depth 0. The point is at t = `through`.
    """
    return depth * t * (1 - t) / (through * (1 - through))
