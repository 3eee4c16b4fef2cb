"""Files of eye patches and photographs named as those of the Columbia Gaze Data Set.

A photograph is `<subject>_2m_<head>P_<pitch>V_<yaw>H.jpg`, whole degrees: P is
the head's yaw, V the gaze's pitch, H its yaw, signs as everywhere in this
project. The subject is a number, or the name of a drawn person. A patch cut from
it adds `_L` or `_R`. Both may be any kind of picture; the suffix may be in
capitals. That label names the eye by where it is seen: `L` lies on the image's
left and is the subject's *right* eye (its nose and caruncle are on the patch's
right side), `R` the other one.

The data set is for non-commercial research [1].

A person fills ten groups (five head poses, two sides) of 21 gazes each. Files
are written group by group, so that any count leaves pairs, frontal heads first.

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
"""What such patches are as a rule: one of another name is refused, not left out."""

_SUFFIX = rf"(?i:{'|'.join(map(re.escape, PICTURE_SUFFIXES))})"
_PHOTO = rf"(?P<subject>\d+|{DRAWN_NAME})_2m_(?P<head>-?\d+)P_(?P<pitch>-?\d+)V_(?P<yaw>-?\d+)H"
_PHOTO_NAME = re.compile(_PHOTO + _SUFFIX, re.IGNORECASE)
_PATCH_NAME = re.compile(_PHOTO + r"_(?P<eye>[LR])" + _SUFFIX)


@dataclass(frozen=True)
class PhotoName:
    """What the name of a photograph says."""

    subject: str
    head: Gaze
    gaze: Gaze

    def patch(self, side: Side) -> PatchName:
        """The name of the patch that shows this eye."""
        return PatchName(self.subject, self.head, self.gaze, side)


@dataclass(frozen=True)
class PatchName:
    """What the name of a patch says."""

    subject: str
    head: Gaze
    gaze: Gaze
    side: Side

    def file_name(self) -> str:
        """The file name, whole degrees."""
        head, pitch, yaw = (
            round(v) for v in (self.head.yaw_deg, self.gaze.pitch_deg, self.gaze.yaw_deg)
        )
        return f"{self.subject}_2m_{head}P_{pitch}V_{yaw}H_{LABEL_OF_SIDE[self.side]}.jpg"

    def label(self) -> EyeLabel:
        """The same as the label of a patch."""
        return EyeLabel(self.subject, self.side, self.head, self.gaze)


def parse_name(file_name: str) -> PatchName:
    """Reads the file name of a patch.

    Raises:
        DataError: the name is of another form.
    """
    match = _PATCH_NAME.fullmatch(file_name)
    if match is None:
        do = (
            "is a whole photograph; cut its eyes out with `mggr-tf data crop`: "
            if parse_photo_name(file_name) is not None
            else ""
        )
        raise DataError(
            f"{file_name}: {do}expected <subject>_2m_<head>P_<pitch>V_<yaw>H_<L|R>.jpg "
            f"(or {', '.join(PICTURE_SUFFIXES[1:])}), "
            "for example 0001_2m_0P_10V_-5H_L.jpg"
        )
    return _photo_name(match).patch(SIDE_OF_LABEL[match["eye"]])


def parse_photo_name(file_name: str) -> PhotoName | None:
    """Reads the file name of a photograph; None when it is of another form."""
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
        raise DataError(f"{match.string}: {error}") from error


def recognises(path: Path) -> bool:
    """Whether a JPEG file lies in this folder, or any other picture named as a patch."""
    return any(
        _is_jpeg(name) or _PATCH_NAME.fullmatch(name)
        for name in os.listdir(path)
        if _is_picture(name)
    )


def listing(folder: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """Lists every picture of a folder, by name; files of the system are left out.

    A JPEG file of another name is an error; another picture of another name, an overview as a
    rule, is a bad patch.

    Args:
        folder: where the patches lie.
        subjects: only these; None takes all.

    Raises:
        DataError: a name of another form, or two files of one patch, on the first entry.
    """
    synthetic = (folder / SYNTHETIC_MARK).is_file()
    return Listing(
        entries=_entries(folder, subjects),
        read=read_entry,
        licence=read_licence(folder, otherwise=SYNTHETIC_LICENCE if synthetic else LICENCE),
    )


def scan(folder: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Reads what `listing` lists, and sorts the good from the bad."""
    return scan_listing(listing(folder, subjects=subjects))


def _entries(folder: Path, subjects: Collection[str] | None) -> Iterator[Entry | BadPatch]:
    seed = drawn_seed(folder)
    with SortedNames() as names:
        with os.scandir(folder) as files:
            for file in files:
                if _is_picture(file.name):
                    names.add(file.name)
        _refuse_twins(names)  # and other names, before any picture is read
        for name in names:
            if not _is_jpeg(name) and not _PATCH_NAME.fullmatch(name):
                if subjects is None:
                    yield BadPatch(folder / name, "its name states no labels", fatal=False)
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
            raise DataError(f"{before} and {name} are one patch in two files; remove one of them")
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
    """Draws patches into a new folder.

    The pictures are a pure function of the seed: a larger count adds files to
    those of a smaller one. On failure nothing is left behind.

    Args:
        out: the folder to make; the folder around it must exist.
        count: number of patches.
        seed: of people, and of the camera's noise.
        progress: called with (done, total) after each patch.
        force: an existing folder may be replaced, with all that is in it.

    Returns:
        The number of patches written.

    Raises:
        UsageError: `count` is below 1, `seed` negative, or the folder cannot be made.
        OutputExistsError: `out` exists and `force` is false.
    """
    if count < 1:
        raise UsageError(f"count: expected at least 1 patch, got {count}")
    if seed < 0:
        raise UsageError(f"seed: expected 0 or more, got {seed}")
    with atomic_folder(out, force=force) as partial:
        for done, (name, image) in enumerate(islice(_pictures(seed), count), 1):
            (partial / name).write_bytes(patch_jpeg(image))
            if progress is not None:
                progress(done, count)
        (partial / SYNTHETIC_MARK).write_text(_MARK_TEXT.format(count=count, seed=seed))
    return count


def _pictures(seed: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Endless (file name, image), person after person."""
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
