"""Read eye patches with file names as in the Columbia Gaze Data Set, and write synthetic patches.

An eye patch is an image of one eye. The name of a photograph is
`<subject>_2m_<head>P_<pitch>V_<yaw>H.jpg`. The angles are in whole degrees: P is the yaw of the
head, V is the pitch of the gaze, and H is the yaw of the gaze. Positive yaw is to the right of the
image, and positive pitch is up. The subject is a number or the name of a synthetic subject.

The name of a patch also contains the suffix `_L` or `_R`, the position of the eye in the
photograph. `L` means the eye on the left of the photograph, which is the *right* eye of the
subject. In the patch of this eye, the nose and the inner corner are on the right. `R` means the eye
on the right of the photograph. Photographs and patches can have any supported image format. The
file extension can be in upper case.

The licence of the data set permits only non-commercial research [1].

The synthetic data set has ten groups per subject, one for each combination of five head poses and
two sides. Each group has 21 gazes. The files are written group by group, frontal head poses first.
Therefore even a small number of files contains training pairs.

References:
    [1] Smith, Yin, Feiner, Nayar, Gaze Locking, UIST 2013.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import DataError, UsageError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.media.files.paths import PICTURE_SUFFIXES
from mggr_tf.data.listing import BadPatch, Entry, EyeLabel, Listing, Scan, scan_listing
from mggr_tf.data.names import (
    DRAWN_NAME,
    FIRST_IN_FOLDER,
    SYNTHETIC_LICENCE,
    SYNTHETIC_MARK,
    drawn_name,
    drawn_seed,
    present_name,
)
from mggr_tf.data.patch_files import SortedNames, patch_jpeg, read_entry, read_licence
from mggr_tf.drawn_eyes.population import draw_subject
from mggr_tf.drawn_eyes.render import render_eye
from mggr_tf.drawn_eyes.samples import Progress

SIDE_OF_LABEL: dict[str, Side] = {"L": "right", "R": "left"}
LABEL_OF_SIDE = {side: label for label, side in SIDE_OF_LABEL.items()}

LICENCE = "Columbia Gaze Data Set: non-commercial research only"
_JPEG = (".jpg", ".jpeg")
"""The usual file extensions of patches. A JPEG file without a valid patch name is an error. An
image of another format without a valid patch name is skipped."""

_SUFFIX = rf"(?i:{'|'.join(map(re.escape, PICTURE_SUFFIXES))})"
_PHOTO = rf"(?P<subject>\d+|{DRAWN_NAME})_2m_(?P<head>-?\d+)P_(?P<pitch>-?\d+)V_(?P<yaw>-?\d+)H"
_PHOTO_NAME = re.compile(_PHOTO + _SUFFIX, re.IGNORECASE)
_PATCH_NAME = re.compile(_PHOTO + r"_(?P<eye>[LR])" + _SUFFIX)


@dataclass(frozen=True)
class PhotoName:
    """The labels in the file name of a photograph."""

    subject: str
    head: Gaze
    gaze: Gaze

    def patch(self, side: Side) -> PatchName:
        """Return the labels of the patch that shows this eye."""
        return PatchName(self.subject, self.head, self.gaze, side)


@dataclass(frozen=True)
class PatchName:
    """The labels in the file name of a patch."""

    subject: str
    head: Gaze
    gaze: Gaze
    side: Side

    def file_name(self) -> str:
        """Return the file name, with angles rounded to whole degrees."""
        head, pitch, yaw = (
            round(v) for v in (self.head.yaw_deg, self.gaze.pitch_deg, self.gaze.yaw_deg)
        )
        return f"{self.subject}_2m_{head}P_{pitch}V_{yaw}H_{LABEL_OF_SIDE[self.side]}.jpg"

    def label(self) -> EyeLabel:
        """Return the labels as an `EyeLabel`."""
        return EyeLabel(self.subject, self.side, self.head, self.gaze)


def parse_name(file_name: str) -> PatchName:
    """Parse the file name of a patch.

    Raises:
        DataError: the name is not a valid name of a patch.
    """
    match = _PATCH_NAME.fullmatch(file_name)
    if match is None:
        if parse_photo_name(file_name) is not None:
            raise DataError(
                f"{file_name}: this is the name of a whole photograph, not of an eye patch; cut "
                "the eyes out with `mggr-tf data crop`",
                code="patch-name-of-photograph",
                name=file_name,
            )
        raise DataError(
            f"{file_name}: this is not a valid name of an eye patch; expected "
            "<subject>_2m_<head>P_<pitch>V_<yaw>H_<L|R>.jpg "
            f"(or {', '.join(PICTURE_SUFFIXES[1:])}), "
            "for example 0001_2m_0P_10V_-5H_L.jpg",
            code="patch-name-invalid",
            name=file_name,
        )
    return _photo_name(match).patch(SIDE_OF_LABEL[match["eye"]])


def parse_photo_name(file_name: str) -> PhotoName | None:
    """Parse the file name of a photograph. If the name is not valid, return `None`."""
    match = _PHOTO_NAME.fullmatch(file_name)
    return None if match is None else _photo_name(match)


def _photo_name(match: re.Match[str]) -> PhotoName:
    try:
        return PhotoName(
            subject=match["subject"],
            head=Gaze(0.0, float(match["head"])),
            gaze=Gaze(float(match["pitch"]), float(match["yaw"])),
        )
    except ValueError as error:
        raise DataError(
            f"{match.string}: {error}",
            code="name-angle-invalid",
            name=match.string,
            reason=str(error),
        ) from error


def recognises(path: Path) -> bool:
    """Return whether the folder contains a JPEG file, or another image with the name of a patch."""
    return any(
        _is_jpeg(name) or _PATCH_NAME.fullmatch(name)
        for name in os.listdir(path)
        if _is_picture(name)
    )


def listing(folder: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """List all images of a folder, sorted by name. System files are skipped.

    If the name of a JPEG file is not a valid patch name, an error is raised. If the name of another
    image is not a valid patch name, the image is listed as a bad patch. Such an image is usually an
    overview image.

    Args:
        folder: folder of the patches.
        subjects: names of the subjects to list. `None` lists all subjects.

    Raises:
        DataError: a JPEG file has no valid name, or two files contain the same patch. The error is
            raised when the first patch is requested.
    """
    synthetic = (folder / SYNTHETIC_MARK).is_file()
    return Listing(
        entries=_entries(folder, subjects),
        read=read_entry,
        licence=read_licence(folder, otherwise=SYNTHETIC_LICENCE if synthetic else LICENCE),
    )


def scan(folder: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Read all patches of `listing` into memory, and separate valid and bad patches."""
    return scan_listing(listing(folder, subjects=subjects))


def _entries(folder: Path, subjects: Collection[str] | None) -> Iterator[Entry | BadPatch]:
    seed = drawn_seed(folder)
    with SortedNames() as names:
        with os.scandir(folder) as files:
            for file in files:
                if _is_picture(file.name):
                    names.add(file.name)
        _refuse_twins(names)  # Also rejects invalid names before any image is read.
        for name in names:
            if not _is_jpeg(name) and not _PATCH_NAME.fullmatch(name):
                if subjects is None:
                    yield BadPatch(folder / name, "its name contains no labels", fatal=False)
                continue
            label = parse_name(name).label()
            person = present_name(label.subject, seed=seed, first=FIRST_IN_FOLDER)
            if subjects is None or person in subjects:
                yield Entry(folder / name, replace(label, subject=person))


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURE_SUFFIXES and not is_system_file(name)


def _is_jpeg(name: str) -> bool:
    return Path(name).suffix.lower() in _JPEG


def _refuse_twins(names: SortedNames) -> None:
    before = ""
    for name in names:
        if _is_jpeg(name):
            parse_name(name)
        if Path(name).stem == Path(before).stem:
            raise DataError(
                f"{before} and {name} contain the same patch; remove one of the two files",
                code="patch-in-two-files",
                first=before,
                second=name,
            )
        before = name


HEAD_YAWS_DEG = (0, -15, 15, -30, 30)
PITCHES_DEG = (-10, 0, 10)
YAWS_DEG = (-15, -10, -5, 0, 5, 10, 15)
PICTURES_PER_SUBJECT = len(HEAD_YAWS_DEG) * 2 * len(PITCHES_DEG) * len(YAWS_DEG)

_SIDES: tuple[Side, Side] = ("right", "left")
_MARK_TEXT = "Drawn by mggr-tf ({count} patches, seed {seed}); no person was photographed.\n"


def write_dataset(
    out: Path, *, count: int, seed: int, progress: Progress | None = None, force: bool = False
) -> int:
    """Render synthetic patches, and write them to a new folder.

    The images depend only on the seed. A larger count only adds files. On failure, the incomplete
    folder is removed.

    Args:
        out: path of the new folder. Its parent folder must exist.
        count: number of patches.
        seed: seed of the subjects and of the camera noise.
        progress: callback, called with (done, total) after each patch.
        force: whether to replace an existing folder and its content.

    Returns:
        the number of patches that were written.

    Raises:
        UsageError: `count` is below 1, or `seed` is negative.
        UsageError: the folder cannot be created.
        OutputExistsError: `out` exists and `force` is false.
    """
    if count < 1:
        raise UsageError(
            f"count: expected at least 1 patch, got {count}", code="count-too-small", count=count
        )
    if seed < 0:
        raise UsageError(f"seed: expected 0 or more, got {seed}", code="seed-negative", seed=seed)
    with atomic_folder(out, force=force) as partial:
        for done, (name, image) in enumerate(islice(_pictures(seed), count), 1):
            (partial / name).write_bytes(patch_jpeg(image))
            if progress is not None:
                progress(done, count)
        (partial / SYNTHETIC_MARK).write_text(_MARK_TEXT.format(count=count, seed=seed))
    return count


def _pictures(seed: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (file name, image), subject by subject. The iterator never ends."""
    number = 0
    while True:
        person = draw_subject([seed, number])
        poses = product(HEAD_YAWS_DEG, _SIDES, product(PITCHES_DEG, YAWS_DEG))
        for index, (head_yaw, side, (pitch, yaw)) in enumerate(poses):
            name = PatchName(
                subject=drawn_name(seed, number),
                head=Gaze(0, head_yaw),
                gaze=Gaze(pitch, yaw),
                side=side,
            )
            eye = render_eye(
                person if side == "right" else person.other_eye(),
                gaze=name.gaze,
                head_pose=name.head,
                side=side,
                seed=[seed, number, 1, index],
            )
            yield name.file_name(), eye.image
        number += 1
