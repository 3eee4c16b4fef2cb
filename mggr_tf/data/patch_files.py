"""Read, encode and sort the image files of eye patches, and detect patches without an eye.

An eye patch is an image of one eye, 64 x 64 pixels.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import DataError
from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_edge.media.files.picture_facts import picture_facts
from mggr_tf.data.listing import BadPatch, Entry

LICENCE_FILE = "licence.txt"


def read_licence(folder: Path, *, otherwise: str) -> str:
    """Return the text of `licence.txt` as one line.

    If the file does not exist, return `otherwise`.

    Raises:
        DataError: the file is empty or is not UTF-8 text.
    """
    file = folder / LICENCE_FILE
    if not file.is_file():
        return otherwise
    try:
        text = " ".join(file.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 text; save it as UTF-8", code="file-not-utf8", path=file
        ) from error
    if not text:
        raise DataError(
            f"{file} is empty; describe in one line what the images may be used for",
            code="licence-empty",
            path=file,
        )
    return text


# A patch is blank if the standard deviation of its grey levels (0 to 255) is below this value.
_BLANK_CONTRAST = 5.0

# The boundaries of iris, lids and sclera have contrast at a scale of about 1/32 of the patch width,
# also in blurred photographs. Pixel noise and smooth shading have no contrast at this scale.
# Therefore the patch is filtered with a Laplacian of a Gaussian whose sigma is this scale. The
# structure value is the standard deviation over the middle of the filtered patch. The 7896 Columbia
# patches have these structure values: at most 3.5 for patches of walls, hair and bare skin, and at
# least 5.3 for patches of eyes. After a further blur by one pixel, the patches of eyes have at
# least 4.4. A synthetic eye behind a spectacle lens that reflects the sky has 4.26. The limit is
# the geometric mean of 3.5 and 4.26.
_SCALE_OF_WIDTH = 1 / 32
_LEAST_STRUCTURE = 3.86
_MIDDLE_HEIGHT = (3 / 16, 13 / 16)
_MIDDLE_WIDTH = (1 / 8, 7 / 8)


def eyeless_reason(image: NDArray[np.uint8]) -> str | None:
    """Return `None` if an image may show an eye. Otherwise, return the reason to reject the image.

    Args:
        image: [H, W, 3] uint8 RGB. The image has about the size of a patch. The eye is expected in
            the middle.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if grey.std() < _BLANK_CONTRAST:
        return "blank"
    if _structure(grey) < _LEAST_STRUCTURE:
        return "shows no eye"
    return None


def _structure(grey: NDArray[np.float32]) -> float:
    """Return the structure value of an image, in grey levels. Sharp edges increase the value.

    The filter is a Laplacian of a Gaussian, multiplied by sigma squared. The structure value is the
    standard deviation over the middle of the filtered image.
    """
    height, width = grey.shape
    sigma_px = width * _SCALE_OF_WIDTH
    soft = cv2.GaussianBlur(grey, (0, 0), sigma_px)
    top, bottom = (round(height * part) for part in _MIDDLE_HEIGHT)
    left, right = (round(width * part) for part in _MIDDLE_WIDTH)
    middle = cv2.Laplacian(soft, cv2.CV_32F)[top:bottom, left:right]
    return float(sigma_px**2 * middle.std())


_JPEG_QUALITY = 95


def read_entry(entry: Entry) -> NDArray[np.uint8] | BadPatch:
    """Read the patch of an entry. The file of the entry must contain only one patch."""
    return read_patch(entry.file)


def read_patch(file: Path) -> NDArray[np.uint8] | BadPatch:
    """Read a patch, [64, 64, 3] uint8 RGB. If the patch cannot be used, return a `BadPatch`."""
    content = file.read_bytes()
    data = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    # OpenCV also decodes a truncated JPEG, and fills the missing part with grey. A second check
    # therefore tests whether the file is complete.
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
    """Return a patch, [64, 64, 3] uint8 RGB, as JPEG data."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    made, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
    assert made, "OpenCV could not encode a JPEG"
    return bytes(data.tobytes())


class SortedNames:
    """A set of names. An iteration yields the names in the order of their bytes.

    If the names take more than 2 MB, they are stored in a temporary file.

    Example:
        >>> with SortedNames() as names:
        ...     names.add("b", 1), names.add("a", 2), names.add("b", 3)
        ...     list(names)
        (None, None, 1)
        ['a', 'b']
    """

    def __init__(self) -> None:
        # An empty database name creates a temporary file. SQLite deletes this file on close.
        self._database = sqlite3.connect("")
        self._database.execute(
            "CREATE TABLE names (name BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID"
        )

    def __enter__(self) -> SortedNames:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, name: str, number: int = 0) -> int | None:
        """Add a name with a number.

        Returns:
            `None` if the name is new. For a duplicate, the number of its first occurrence.
        """
        key = os.fsencode(name)
        added = self._database.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (key, number))
        if added.rowcount:
            return None
        found = self._database.execute("SELECT number FROM names WHERE name = ?", (key,))
        return int(found.fetchone()[0])

    def __iter__(self) -> Iterator[str]:
        for (name,) in self._database.execute("SELECT name FROM names ORDER BY name"):
            yield os.fsdecode(name)
