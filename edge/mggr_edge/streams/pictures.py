"""Still pictures: read upright as RGB, written with what they had beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError, UsageError
from mggr_edge.streams.orientation import upright
from mggr_edge.streams.paths import TRANSPARENT_SUFFIXES
from mggr_edge.streams.picture_facts import PictureFacts, picture_facts, with_profile

_QUALITY = 95
_ENCODER_OPTIONS = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, _QUALITY],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, _QUALITY],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, _QUALITY],
}

_SILENT = 0
"""OpenCV's log level."""
_MOST_PIXELS = 1 << 28
"""The largest phones' sensors have 200 million."""
_EMPTY_PIXELS = 1 << 25
"""Of whatever content: a frame of 8K video, 100 MB."""
_PIXELS_PER_BYTE = 100
"""Beyond that. Photographs of low quality have 25, and what is blown up has thousands."""
_MOST_SCANS = 100
"""Encoders write about ten, and each is a walk over the whole picture."""


@dataclass(frozen=True)
class Picture:
    """A picture as it is seen.

    Attributes:
        rgb: [H, W, 3] uint8, upright.
        alpha: [H, W] uint8, or None where the file has no transparency.
        grey: the file holds one channel, and shall again.
        profile: its colour profile, as in `PictureFacts`.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    profile: bytes = b""


def read_picture(path: Path) -> Picture:
    """Reads a JPEG, PNG, WebP or BMP of 8 bits; EXIF orientation is applied.

    Raises:
        StreamError: missing, damaged, cut short, animated, of more than 8 bits, of another
            format, or so large that it could not be held.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StreamError(f"{path} cannot be read: {error.strerror}") from error
    facts = picture_facts(content)
    _check_size(path, facts, len(content))
    if not facts.complete or (facts.format and 0 in facts.size):
        raise StreamError(f"{path} is damaged or cut short; copy it again from its source")
    if content and not facts.format:
        raise StreamError(f"{path} is no JPEG, PNG, WebP or BMP; open and save it anew")
    if facts.animated:
        raise StreamError(f"{path} is animated; make it a video (.mp4) or a still picture first")
    stored = _decode(path, content)
    if stored.dtype != np.uint8:
        raise StreamError(
            f"{path} has {8 * stored.dtype.itemsize} bits a channel, expected 8; "
            "convert it to 8 bits first"
        )
    return replace(_picture(upright(stored, facts.orientation)), profile=facts.profile)


def write_picture(path: Path, picture: Picture) -> bool:
    """Writes a picture; the suffix says which format. JPEG and WebP at quality 95.

    Returns:
        Whether it carries all that the picture has; False when the colour profile,
        of another format or of a WebP, had to stay behind.

    Raises:
        UsageError: the format cannot hold the picture's transparency.
        StreamError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if picture.alpha is not None and suffix not in TRANSPARENT_SUFFIXES:
        raise UsageError(
            f"{suffix} cannot hold the picture's transparency; "
            f"write {' or '.join(TRANSPARENT_SUFFIXES)}"
        )
    ok, encoded = cv2.imencode(suffix, _stored(picture), _ENCODER_OPTIONS.get(suffix, []))
    if not ok:
        raise StreamError(f"{path} cannot be encoded as {suffix}")
    content: bytes = encoded.tobytes()
    profiled = with_profile(content, picture.profile) if picture.profile else content
    try:
        # Not cv2.imwrite: it cannot write to every file name on every system.
        path.write_bytes(content if profiled is None else profiled)
    except OSError as error:
        raise StreamError(f"{path} cannot be written: {error.strerror}") from error
    return profiled is not None


def _check_size(path: Path, facts: PictureFacts, length: int) -> None:
    """Refuses what a few bytes blow up: before anything is decoded, let alone allocated."""
    height, width = facts.size
    pixels = height * width
    allowed = min(_MOST_PIXELS, max(_EMPTY_PIXELS, _PIXELS_PER_BYTE * length))
    if pixels > allowed:
        raise StreamError(
            f"{path} says that it is {width} x {height}, in {length} bytes; at most "
            f"{allowed // 1_000_000} megapixels are read of that: make it smaller first"
        )
    if facts.scans > _MOST_SCANS:
        raise StreamError(f"{path} is a JPEG of {facts.scans} scans; open and save it anew")


def _decode(path: Path, content: bytes) -> NDArray:
    if not content:
        raise StreamError(f"{path} is empty; expected a picture")
    before = cv2.setLogLevel(_SILENT)  # what it has against a picture is told below, in one line
    try:
        # Unchanged: with its transparency and depth, and not turned; that is ours to do.
        stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise StreamError(f"{path} cannot be decoded: {error.err}") from error
    finally:
        cv2.setLogLevel(before)
    if stored is None:
        raise StreamError(f"{path} is no picture that can be decoded; open and save it anew")
    return stored


def _picture(stored: NDArray[np.uint8]) -> Picture:
    if stored.ndim == 2:
        return Picture(cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB), grey=True)
    if stored.shape[2] == 4:
        return Picture(
            cv2.cvtColor(stored, cv2.COLOR_BGRA2RGB), np.ascontiguousarray(stored[..., 3])
        )
    return Picture(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB))


def _stored(picture: Picture) -> NDArray[np.uint8]:
    if picture.alpha is not None:
        return np.dstack([picture.rgb[..., ::-1], picture.alpha])
    if picture.grey:
        return cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY)
    return cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
