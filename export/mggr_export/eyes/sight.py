"""Where redirected pictures look, before and after conversion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.models.contract import Conventions, GazeShown
from mggr_edge.models.network_io import gaze_from_network, head_to_network
from mggr_tf.data.schema import EyeSamples

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
