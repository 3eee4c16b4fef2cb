"""Patches as picture files: read with suspicion, written in one way."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_edge.media.files.picture_facts import picture_facts
from mggr_tf.data.eyeless import eyeless_reason
from mggr_tf.data.listing import BadPatch, Entry

_JPEG_QUALITY = 95


def read_entry(entry: Entry) -> NDArray[np.uint8] | BadPatch:
    """Reads a patch that is a file of its own."""
    return read_patch(entry.file)


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


def patch_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """The JPEG of a patch, [64, 64, 3] uint8 RGB."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    made, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
    assert made, "OpenCV could not encode a JPEG"
    return bytes(data.tobytes())
