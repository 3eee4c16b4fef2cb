"""Sample sheets: what a redirector does to held-out eyes, as a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.models.network_io import image_from_network, image_to_network
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.redirect_pairs import pair_inputs
from mggr_tf.models.networks import Networks

_ZOOM = 2
_PAIRS = 8


class SampleSheet:
    """Draws the same few pairs each time, as the averaged redirector makes them at the moment.

    Args:
        networks: of the run.
        samples: whose eyes.

    Raises:
        DataError: no two of the samples make a pair.
    """

    def __init__(self, networks: Networks, samples: EyeSamples) -> None:
        pairs = all_pairs(samples, limit=_PAIRS, seed=networks.config.seed)
        self._networks = networks
        self._inputs = pair_inputs(samples, pairs, networks.config.conventions)
        self._target = image_to_network(samples.images[pairs[:, 1]])

    def __call__(self) -> NDArray[np.uint8]:
        """See `sheet`."""
        made = self._networks.averaged.joined(self._inputs, training=False)
        shown = {name: np.asarray(made[name]) for name in ("coarse", "residual", "redirected")}
        return sheet(source=self._inputs["eye"], target=self._target, **shown)


def sheet(
    *,
    source: NDArray[np.float32],
    coarse: NDArray[np.float32],
    residual: NDArray[np.float32],
    redirected: NDArray[np.float32],
    target: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """One row per eye: source, coarse, residual (grey is zero), redirected, target.

    Args:
        source, coarse, residual, redirected, target: [B, H, W, 3] float32 in network units.

    Returns:
        [2 B H, 10 W, 3] uint8 RGB.
    """
    columns = [image_from_network(c) for c in (source, coarse, residual, redirected, target)]
    grid = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
    return grid.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes an RGB picture; an older one of that name is replaced."""
    done, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done, "OpenCV writes PNG"
    with atomic_file(path, force=True) as temporary:
        temporary.write_bytes(content.tobytes())
