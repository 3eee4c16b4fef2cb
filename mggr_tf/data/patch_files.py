"""Patches as picture files: read with suspicion, written in one way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.contract import DEFAULT_SIZE_PX
from mggr_edge.streams.picture_facts import picture_facts
from mggr_tf.data.eyeless import eyeless_reason
from mggr_tf.data.label import EyeLabel
from mggr_tf.data.scan import BadPatch, Scan

_JPEG_QUALITY = 95


def scan_files(
    entries: Iterable[tuple[Path, EyeLabel]], *, licence: str, head_bin_deg: float = 0.0
) -> Scan:
    """Reads labelled files and sorts the good from the bad.

    Args:
        entries: files that exist, with their labels.
        licence, head_bin_deg: as in `Scan`.
    """
    labels: list[EyeLabel] = []
    images: list[NDArray[np.uint8]] = []
    bad: list[BadPatch] = []
    for file, label in entries:
        image = read_patch(file)
        if isinstance(image, BadPatch):
            bad.append(image)
        else:
            labels.append(label)
            images.append(image)
    return Scan(
        labels=tuple(labels),
        images=stack_patches(images),
        bad=tuple(bad),
        licence=licence,
        head_bin_deg=head_bin_deg,
    )


def read_patch(file: Path) -> NDArray[np.uint8] | BadPatch:
    """Reads a patch, [64, 64, 3] uint8 RGB, or says why it must not be trained on."""
    content = file.read_bytes()
    data = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    # A JPEG that is cut off still decodes, greyed out below: ask its bytes too.
    if image is None or not picture_facts(content).complete:
        return BadPatch(file, "corrupt")
    if image.shape != (DEFAULT_SIZE_PX, DEFAULT_SIZE_PX, 3):
        height, width = image.shape[:2]
        return BadPatch(
            file, f"{width} x {height} pixels instead of {DEFAULT_SIZE_PX} x {DEFAULT_SIZE_PX}"
        )
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    reason = eyeless_reason(rgb)
    return rgb if reason is None else BadPatch(file, reason, fatal=False)


def stack_patches(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """[N, 64, 64, 3], of no patch too."""
    if not images:
        return np.zeros((0, DEFAULT_SIZE_PX, DEFAULT_SIZE_PX, 3), np.uint8)
    return np.stack(images)


def patch_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """The JPEG of a patch, [64, 64, 3] uint8 RGB."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    made, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
    assert made, "OpenCV could not encode a JPEG"
    return bytes(data.tobytes())
