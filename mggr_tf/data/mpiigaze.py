"""Reader of MPIIGaze [1], `Data/Normalized/p00/day01.mat`: eyes from laptop cameras over months.

Every `.mat` file contains `data.left` and `data.right` (sides from the subject's point of view),
each with `image` [N, 36, 60] uint8 grey, `gaze` [N, 3] and `pose` [N, 3].

**Angles.** The images are those of a virtual camera that points at the eye, with x to the image's
right, y down and z forward. `gaze` is a unit vector from the eye to the gaze target, so z < 0 is
towards the camera. The unit vector of this project (x to the image's right, y up, z towards the
camera) is (x, -y, -z). With this project's formula (cos p sin y, sin p, cos p cos y), it follows:

    pitch = asin(-y)        yaw = atan2(x, -z)

The common code for this data set uses atan2(-x, -z): its yaw is positive to the image's left.
`pose` is a rotation vector from head axes to camera axes. For a head that faces the camera, the
axes of head and camera are equal. The z axis of the head therefore points *into* the head, and the
direction of the face is -(third column of the matrix); the formulas above then apply.

**Scale.** The virtual camera has a focal length of 960 pixels and a distance of 600 mm, which is
1.6 pixels per millimetre. It points at the midpoint between the eye corners, which is pixel (30,
18). The corners are taken from the 3D face model with which the data set was created, a mean face,
rotated by `pose`. Half their distance in the image is R, and the patch is the square of side 3.4 R
around (30, 18). For a frontal face, the side is 64.7 pixels, so that the scale is almost 1. This is
an approximation: if the eyes of a subject are wider than those of the mean face, the patch is too
narrow by the same factor. The square is higher than the image, so the border rows of the image are
repeated.

Head poses are measured and never repeat exactly; the patches of a pair have head poses in the same
bin.

References:
    [1] Zhang, Sugano, Fritz, Bulling, Appearance-Based Gaze Estimation in the Wild, CVPR 2015.
        Licence: CC BY-NC-SA 4.0, for research.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR, EyeCrop, crop_patch
from mggr_tf.data.listing import BadPatch, Entry, EyeLabel, Listing, Scan, scan_listing
from mggr_tf.data.patch_files import eyeless_reason

LICENCE = "MPIIGaze: CC BY-NC-SA 4.0, non-commercial research only"
HEAD_BIN_DEG = 5.0

_SIDES: tuple[Side, Side] = ("left", "right")
_SIZE = (36, 60)
_CENTRE = (30.0, 18.0)
_PX_PER_MM = 960 / 600

# Vector from the midpoint of an eye to its corner on the image's right, in millimetres, in head
# axes (x to the image's right, y down, z into the head): half the difference of the corners
# (-45.10, -0.48, 2.40) and (-21.31, 0.48, -2.40) of the data set's face model.
_HALF_EYE_MM: dict[Side, tuple[float, float, float]] = {
    "right": (11.892, 0.484, -2.397),
    "left": (11.892, -0.484, 2.397),
}
_UNIT_TOLERANCE = 0.05

_DAYS_KEPT = 64
"""Number of files in the cache, about 70 MB. It holds all days of one subject, because the patches
of one head pose can be spread over all of them."""


@dataclass(frozen=True)
class _Eyes:
    """Eyes of one side in one file: images [N, 36, 60], gazes [N, 3], poses [N, 3]."""

    images: NDArray[np.uint8]
    gazes: NDArray[np.float64]
    poses: NDArray[np.float64]


def recognises(path: Path) -> bool:
    """Return whether the path is the data set, its `Data` folder, or its `Normalized` folder."""
    return bool(_people(path))


def listing(path: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """List the normalised eyes, ordered by subject and day.

    Args:
        path: the data set, its `Data` folder, or its `Normalized` folder.
        subjects: names of the subjects to list (`p00`); None lists all.

    Raises:
        DataError: a file does not have the layout of the data set. It is raised when the iterator
            reaches the file.
    """
    return Listing(
        entries=_entries(path, subjects), read=_read, licence=LICENCE, head_bin_deg=HEAD_BIN_DEG
    )


def scan(path: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Read all patches of `listing` into memory and separate the valid from the bad ones.

    The whole data set, 427,318 eyes, needs more than 5 GB of memory: select some subjects.
    """
    return scan_listing(listing(path, subjects=subjects))


def direction(vector: NDArray[np.float64]) -> Gaze:
    """Convert a unit vector (x right, y down, z forward) to a gaze; see the module docstring."""
    x, y, z = vector
    pitch, yaw = np.arcsin(np.clip(-y, -1.0, 1.0)), np.arctan2(x, -z)
    return Gaze(float(np.degrees(pitch)), float(np.degrees(yaw)))


def eye_square(pose: NDArray[np.float64], side: Side) -> EyeCrop:
    """Return the square of a normalised image that a patch shows, for a head rotated by `pose`."""
    half_mm = cv2.Rodrigues(pose)[0] @ np.asarray(_HALF_EYE_MM[side])
    radius_px = _PX_PER_MM * float(np.hypot(half_mm[0], half_mm[1]))
    return EyeCrop(centre=_CENTRE, width_px=DEFAULT_CROP_FACTOR * radius_px, roll_deg=0.0)


def _people(path: Path) -> list[Path]:
    for normalized in (path / "Data" / "Normalized", path / "Normalized", path):
        found = [person for person in sorted(normalized.glob("p[0-9][0-9]")) if _days(person)]
        if found:
            return found
    return []


def _days(person: Path) -> list[Path]:
    """Return the files `day01.mat` and so on of a subject, without system files."""
    if not person.is_dir():
        return []
    return sorted(
        file
        for file in person.iterdir()
        if file.name.lower().startswith("day")
        and file.suffix.lower() == ".mat"
        and not is_system_file(file.name)
    )


def _entries(path: Path, subjects: Collection[str] | None) -> Iterator[Entry | BadPatch]:
    for person in _people(path):
        if subjects is None or person.name in subjects:
            for file in _days(person):
                for side, eyes in _day(file).items():
                    for index in range(len(eyes.images)):
                        yield _entry(eyes, index, file=file, subject=person.name, side=side)


def _entry(eyes: _Eyes, index: int, *, file: Path, subject: str, side: Side) -> Entry | BadPatch:
    gaze, pose = eyes.gazes[index], eyes.poses[index]
    where = f"{side} {index + 1}"
    if not np.isfinite([*gaze, *pose]).all() or abs(np.linalg.norm(gaze) - 1) > _UNIT_TOLERANCE:
        return BadPatch(
            file, "gaze is not a unit vector or pose is not finite", fatal=False, within=where
        )
    face = -cv2.Rodrigues(pose)[0][:, 2]
    if gaze[2] >= 0 or face[2] >= 0:
        return BadPatch(file, "gaze or face points away from the camera", fatal=False, within=where)
    label = EyeLabel(subject, side, head=direction(face), gaze=direction(gaze))
    return Entry(file, label, number=index + 1)


def _read(entry: Entry) -> NDArray[np.uint8] | BadPatch:
    side, index = entry.label.side, entry.number - 1
    eyes = _day(entry.file)[side]
    image = cv2.cvtColor(np.ascontiguousarray(eyes.images[index]), cv2.COLOR_GRAY2RGB)
    # The check uses the original image, because the repeated rows of the patch contain no eye.
    eyeless = eyeless_reason(image)
    if eyeless is not None:
        return BadPatch(entry.file, eyeless, fatal=False, within=f"{side} {entry.number}")
    return crop_patch(image, eye_square(eyes.poses[index], side))


def _day(file: Path) -> dict[Side, _Eyes]:
    try:
        state = file.stat()
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}",
            code="file-unreadable",
            path=file,
            reason=error.strerror,
        ) from error
    return _kept(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=_DAYS_KEPT)
def _kept(file: Path, size: int, mtime_ns: int) -> dict[Side, _Eyes]:
    """Return the cached content of a file; size and modification time identify its version."""
    return _load(file)


def _load(file: Path) -> dict[Side, _Eyes]:
    # Imported here because only this source needs scipy, a dependency of scikit-image.
    from scipy.io import loadmat  # type: ignore[import-untyped]
    from scipy.io.matlab import MatReadError  # type: ignore[import-untyped]

    unreadable = (OSError, ValueError, TypeError, IndexError, NotImplementedError, zlib.error)
    try:
        data = loadmat(file)["data"]
        return {side: _eyes(data[side][0, 0], file, f"data.{side}") for side in _SIDES}
    except KeyError as error:
        raise DataError(
            f"{file}: field {error} is missing; expected the layout of MPIIGaze",
            code="mat-field-missing",
            path=file,
            field=error.args[0],
        ) from error
    except (*unreadable, MatReadError) as error:
        raise DataError(
            f"{file} cannot be read as a .mat file of MPIIGaze: {error}",
            code="mat-unreadable",
            path=file,
            reason=str(error),
        ) from error


def _eyes(struct: Any, file: Path, where: str) -> _Eyes:
    images, gazes, poses = (struct[name][0, 0] for name in ("image", "gaze", "pose"))
    count = len(images)
    if images.dtype != np.uint8 or images.shape != (count, *_SIZE):
        expected = f"uint8 [N, {_SIZE[0]}, {_SIZE[1]}]"
        found = f"{images.dtype} {list(images.shape)}"
        raise DataError(
            f"{file}: {where}.image: expected {expected}, got {found}",
            code="mat-array-invalid",
            path=file,
            field=f"{where}.image",
            expected=expected,
            found=found,
        )
    for name, values in (("gaze", gazes), ("pose", poses)):
        if values.shape != (count, 3):
            raise DataError(
                f"{file}: {where}.{name}: expected [{count}, 3], got {list(values.shape)}",
                code="mat-array-invalid",
                path=file,
                field=f"{where}.{name}",
                expected=[count, 3],
                found=list(values.shape),
            )
    return _Eyes(images, gazes.astype(np.float64), poses.astype(np.float64))
