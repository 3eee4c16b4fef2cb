"""Sample sheets: what a redirector does to held-out eyes, as a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.atomic import atomic_file
from mggr_edge.network_io import image_from_network

_ZOOM = 2


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
