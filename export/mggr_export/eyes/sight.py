"""Compare the pictures of a converted redirector with those of Keras.

The module compares the gaze directions, and the pixels inside the eye opening. Three quarters of a
patch are skin. A redirector hardly changes the skin, and a device does not display the skin of a
patch. If the conversion damages an iris, the PSNR inside the eye opening decreases more than the
PSNR of the whole picture.

The eye opening is the region between the lids of the source patch. Synthetic eyes have landmarks
for the lids. For patches with landmarks, two parabolas bound the region. These parabolas go through
the eye corners and the middle of each lid margin. For patches without landmarks, the region is the
eyeball disc of the gazemap. The lids partly cover this disc. The result names the region that was
used, because the two regions are not fully equivalent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.contract import GazeShown, OpeningParity, OpeningRegion
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import gaze_from_network, head_to_network
from mggr_tf.data.schema import EyeSamples
from mggr_tf.drawn_eyes.rendered import LANDMARKS

WIDE_DEG = 20.0
"""Gaze shifts above this angle in degrees are called wide. Wide shifts are difficult."""


@dataclass(frozen=True)
class Sight:
    """Gaze comparison of redirected pictures. The run's own estimator measures the gaze.

    The estimator was part of a loss when the redirector was trained. The measurements of the
    estimator are therefore not a valid score of the redirector. But these measurements are valid
    for the changes that a conversion causes.

    Attributes:
        estimator: Keras estimator.
        head_deg, source_deg, target_deg: Head pose, source gaze and target gaze of the pairs. Each
            array has the shape [N, 2] and contains (pitch, yaw) in degrees.
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
        """Return the comparison for pairs. `pairs` contains [N, 2] indices (source, target)."""
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
        """Fraction of the pairs with a wide gaze shift, that is, a shift above `WIDE_DEG`."""
        return float(np.mean(angular_error_deg(self.source_deg, self.target_deg) > WIDE_DEG))

    def compare(self, made: NDArray[np.float32], right: NDArray[np.float32]) -> GazeShown:
        """Return the mean gaze error of a model file and that of Keras.

        Args:
            made: [N, H, W, 3] pictures that the model file redirected, with values in [-1, 1].
            right: [N, H, W, 3] pictures that Keras redirected, with values in [-1, 1].
        """
        return GazeShown(error_deg=self._error_deg(made), keras_error_deg=self._error_deg(right))

    def _error_deg(self, pictures: NDArray[np.float32]) -> float:
        head = head_to_network(self.head_deg, self.conventions)
        seen = self.estimator({"eye": pictures, "head_pose": head}, training=False)
        gaze = gaze_from_network(np.asarray(seen["gaze"]), self.conventions)
        error = float(angular_error_deg(gaze, self.target_deg).mean())
        return float(f"{error:.4g}")


_SPAN = 2.0
"""Size of the value range [-1, 1] of pictures."""

_OUTER, _INNER, _UPPER, _LOWER = (
    LANDMARKS.index(name) for name in ("outer corner", "inner corner", "upper lid", "lower lid")
)


@dataclass(frozen=True)
class Openings:
    """Eye openings of N compared patches.

    Attributes:
        inside: [N, H, W] bool array. The values are True inside the opening.
        region: Kind of the region: either between the lids, or the eyeball disc.
    """

    inside: NDArray[np.bool_]
    region: OpeningRegion

    @classmethod
    def of_pairs(
        cls, samples: EyeSamples, pairs: NDArray[np.int64], conventions: Conventions
    ) -> Openings:
        """Return the eye openings of the source patches of all pairs.

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
        """Compare the pixels inside all eye openings with Keras, and return the PSNR.

        Args:
            made: [N, H, W, 3] pictures that the model file redirected, with values in [-1, 1].
            right: [N, H, W, 3] pictures that Keras redirected, with values in [-1, 1].
        """
        difference = (made.astype(np.float64) - right)[self.inside]  # [pixels, 3]
        rms = float(np.sqrt(np.mean(difference**2))) if len(difference) else 0.0
        psnr_db = None if rms == 0 else float(f"{20 * np.log10(_SPAN / rms):.4g}")
        return OpeningParity(self.region, share=float(f"{self.inside.mean():.3g}"), psnr_db=psnr_db)


def _between_lids(points: NDArray[np.float32], size_px: int) -> NDArray[np.bool_]:
    """Return a mask [H, W] that is True between the lids. `points` contains [K, 2] landmarks."""
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
        Two numbers. The first number is the position along the line, as a fraction of the eye
        width, clipped to [0.1, 0.9]. The second number is the distance below the line in pixels.
    """
    return float(np.clip(point @ along, 0.1, 0.9)), float(point @ down)


def _parabola(t: NDArray[np.float64], through: float, depth: float) -> NDArray[np.float64]:
    """Return the depth of a parabola at the positions `t`.

    The parabola goes through three points. Both eye corners have depth 0, at t = 0 and t = 1. The
    third point has the depth `depth`, at t = `through`.
    """
    return depth * t * (1 - t) / (through * (1 - through))
