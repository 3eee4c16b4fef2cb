"""Read the data set MPIIGaze [1] as eye patches (images of one eye).

The data set contains images of eyes that laptop cameras recorded over several months. The path of a
file is, for example, `Data/Normalized/p00/day01.mat`. Every `.mat` file contains `data.left` and
`data.right`. The sides are from the subject's point of view. Each side has `image` [N, 36, 60]
uint8 grey, `gaze` [N, 3] and `pose` [N, 3].

**Angles.** The images are those of a virtual camera that points at the eye. The x axis of the
camera points to the right of the image, y points down, and z points forward. `gaze` is a unit
vector from the eye to the gaze target. A gaze towards the camera therefore has z < 0. In this
project, x points to the right of the image, y points up, and z points towards the camera. The same
unit vector is therefore (x, -y, -z) in this project. For a pitch p and a yaw y, the unit vector in
this project is (cos p sin y, sin p, cos p cos y). These equations follow:

    pitch = asin(-y)        yaw = atan2(x, -z)

Most other code for this data set uses atan2(-x, -z). With that formula, a positive yaw points to
the left of the image.

`pose` is a rotation vector from head axes to camera axes. For a head that faces the camera, the
axes of head and camera are equal. The z axis of the head therefore points *into* the head. The
direction of the face is -(third column of the rotation matrix). The equations above convert this
direction to angles.

**Scale.** The virtual camera has a focal length of 960 pixels and a distance of 600 mm from the
eye. The scale is therefore 1.6 pixels per millimetre. The camera points at the midpoint between the
eye corners. This midpoint is pixel (30, 18). The data set was created with a 3D model of a mean
face. This module rotates the eye corners of this model by `pose`. R is half the distance between
the two corners in the image. The patch is the square with the side length 3.4 R around pixel (30,
18). For a frontal head pose, the side length is 64.7 pixels. A patch has 64 pixels per side.
Patches with a frontal head pose therefore have almost the same scale as the images.

The size is only an approximation. If the eyes of a subject are wider than the eyes of the mean
face, the patch is too narrow by the same factor. The square is taller than the image. The border
rows of the image are therefore repeated.

**Pairs.** Head poses are measured and never repeat exactly. Therefore two patches form a pair if
their head poses are in the same bin of 5 x 5 degrees (pitch and yaw).

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

# The vector from the midpoint of an eye to its corner on the right of the image, in millimetres.
# The vector is in head axes: x to the right of the image, y down, z into the head. In the face
# model of the data set, the corners are (-45.10, -0.48, 2.40) and (-21.31, 0.48, -2.40). The vector
# is half of their difference.
_HALF_EYE_MM: dict[Side, tuple[float, float, float]] = {
    "right": (11.892, 0.484, -2.397),
    "left": (11.892, -0.484, 2.397),
}
_UNIT_TOLERANCE = 0.05

_DAYS_KEPT = 64
"""The number of files in the cache, about 70 MB. The patches of one head pose can be in the files
of many days. The cache therefore has enough space for all days of one subject."""


@dataclass(frozen=True)
class _Eyes:
    """The eyes of one side in one file: images [N, 36, 60], gazes [N, 3], poses [N, 3]."""

    images: NDArray[np.uint8]
    gazes: NDArray[np.float64]
    poses: NDArray[np.float64]


def recognises(path: Path) -> bool:
    """Return whether the path is the data set, or its folder `Data` or `Normalized`."""
    return bool(_people(path))


def listing(path: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """List the eyes of the data set, ordered by subject and day.

    Args:
        path: path of the data set, or of its folder `Data` or `Normalized`.
        subjects: names of the subjects to list, for example `p00`. `None` lists all subjects.

    Raises:
        DataError: a file does not have the layout of the data set. The error is raised when the
            iterator reaches this file.
    """
    return Listing(
        entries=_entries(path, subjects), read=_read, licence=LICENCE, head_bin_deg=HEAD_BIN_DEG
    )


def scan(path: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Read all patches of `listing` into memory, and separate valid and bad patches.

    The whole data set (427,318 eyes) needs more than 5 GB of memory. Select only some subjects.
    """
    return scan_listing(listing(path, subjects=subjects))


def direction(vector: NDArray[np.float64]) -> Gaze:
    """Convert a unit vector (x right, y down, z forward) to a gaze. See the module docstring."""
    x, y, z = vector
    pitch, yaw = np.arcsin(np.clip(-y, -1.0, 1.0)), np.arctan2(x, -z)
    return Gaze(float(np.degrees(pitch)), float(np.degrees(yaw)))


def eye_square(pose: NDArray[np.float64], side: Side) -> EyeCrop:
    """Return the crop square of a patch. `pose` is the rotation vector of the head."""
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
    """Return the files of a subject, for example `day01.mat`, without system files."""
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
    # The check uses the original image, because the patch contains repeated border rows, which show
    # no eye.
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
    """Return the content of a file, and cache it.

    The size and the modification time identify the version of the file.
    """
    return _load(file)


def _load(file: Path) -> dict[Side, _Eyes]:
    # Scipy is imported here, because only this data source needs it. It is a dependency of
    # scikit-image.
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
