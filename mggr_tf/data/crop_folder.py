"""Cut the eyes out of a folder of photographs, and write a folder of eye patches.

The new folder gets its name when it is complete. An eye patch is an image of one eye.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.progress import Progress
from mggr_edge.errors import DataError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.installed import find_landmark_models
from mggr_tf.data.crop_eyes import EyeCutter, Outcome, Photo, find_photos
from mggr_tf.data.folder import TABLE, write_table
from mggr_tf.data.listing import EyeLabel
from mggr_tf.data.patch_files import LICENCE_FILE
from mggr_tf.data.processes import mapped

NOT_CUT = "not-cut.csv"
"""The name of the file that lists the eyes without a patch, and the reasons."""

_FEW = 8
"""Starting a new process takes about as long as cutting the eyes out of this number of
photographs."""


@dataclass(frozen=True)
class Cropped:
    """The result of cutting a folder of photographs.

    Attributes:
        photos: number of photographs.
        patches: number of patches that were written.
        labelled: whether every patch has a gaze label. The label is from the name of its photograph
            or from the argument `gaze`.
        not_cut: (photograph, eye, reason) for each eye without a patch. If the photograph could not
            be read or shows no face, the text for the eye is empty.
        failed: photographs that could not be read or show no face. A labelled photograph with fewer
            than two patches is also in this list.
    """

    photos: int
    patches: int
    labelled: bool
    not_cut: tuple[tuple[Path, str, str], ...]
    failed: tuple[Path, ...]


def crop_photos(
    source: Path,
    out: Path,
    *,
    gaze: Gaze | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress,
) -> Cropped:
    """Cut both eyes out of every photograph.

    If the names of the photographs contain labels as in the Columbia data set, the names of the
    patches contain the same labels. Otherwise, the table `eyes.csv` lists the patches. If `gaze` is
    `None`, the gaze cells of this table are empty, and the user must fill them in. If `gaze` is
    set, the table contains this gaze for all patches, and each photograph must show one subject.

    Args:
        source: photograph or folder of photographs. Subfolders are included.
        out: path of the new folder. Its parent folder must exist.
        gaze: gaze of the subject in every photograph, in the axes of the photograph. `None` if the
            gazes are different, unknown, or in the file names. If the gaze is (0, 0), into the
            lens, patches and head poses are rotated with the eye, as on the device. Otherwise, all
            patches are upright.
        workers: number of processes. `None` uses all cores, or one process for a few photographs.
        force: whether to replace an existing `out` with all its content.
        progress: function that creates a progress bar. The progress bar counts photographs.

    Raises:
        DataError: there are no photographs, or no eye could be cut out. In both cases, no folder is
            written.
        OutputExistsError: `out` exists and `force` is false.
        MissingPackageError: the landmark models are not installed.
        UsageError: `gaze` is set, although the names of the photographs contain labels.
    """
    photos = find_photos(source)
    if gaze is not None and photos[0].name is not None:
        raise UsageError(
            "--gaze is only for photographs without labels in their names, but the name of "
            f"{photos[0].file.name} contains labels; omit --gaze",
            code="gaze-for-labelled-photos",
            name=photos[0].file.name,
        )
    find_landmark_models()  # Raises the error before the processes start.
    count = min(workers or _processes(len(photos)), len(photos))
    with atomic_folder(out, force=force) as folder:
        done: list[Outcome] = []
        with (
            progress("cutting eyes", len(photos)) as advance,
            mapped(partial(EyeCutter, gaze), photos, workers=count, otherwise="") as cut,
        ):
            for outcome in cut:
                _write_patches(folder, outcome)
                done.append(outcome)
                advance(1)
        result = _summary(done, gaze)
        if not result.patches:
            photo, _, reason = result.not_cut[0]
            raise DataError(
                f"{source}: no eye could be cut out; {photo.name}: {reason}",
                code="no-eye-cut",
                path=source,
                photo=photo.name,
                reason=reason,
            )
        _write_lists(folder, done, result, gaze)
        _carry_licence(source, folder)
    return result


def _processes(photos: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, -(-photos // _FEW))


def _write_patches(folder: Path, outcome: Outcome) -> None:
    for patch in outcome.patches:
        file = folder / outcome.photo.patch_file(patch.side, face=patch.face)
        try:
            with open(file, "xb") as handle:
                handle.write(patch.jpeg)
        except FileExistsError as error:
            raise DataError(
                f"the file name {file.name} would be used for a patch of {outcome.photo.file} and "
                "for a patch of another photograph; rename one of the photographs",
                code="patch-name-taken",
                photo=outcome.photo.file,
                patch=file.name,
            ) from error


def _summary(done: Sequence[Outcome], gaze: Gaze | None) -> Cropped:
    labelled = gaze is not None or done[0].photo.name is not None
    return Cropped(
        photos=len(done),
        patches=sum(len(outcome.patches) for outcome in done),
        labelled=labelled,
        not_cut=tuple(
            (outcome.photo.file, what, reason)
            for outcome in done
            for what, reason in _missing(outcome)
        ),
        failed=tuple(outcome.photo.file for outcome in done if _failed(outcome, labelled=labelled)),
    )


def _missing(outcome: Outcome) -> list[tuple[str, str]]:
    if outcome.failure is not None:
        return [("", outcome.failure)]
    return [(eye.what, eye.reason) for eye in outcome.not_cut]


def _failed(outcome: Outcome, *, labelled: bool) -> bool:
    # A labelled photograph shows one subject. Two patches are therefore expected. In a photograph
    # of several people, some eyes are usually too small.
    lacks_an_eye = labelled and len(outcome.patches) < 2
    return outcome.failure is not None or lacks_an_eye


def _write_lists(folder: Path, done: Sequence[Outcome], result: Cropped, gaze: Gaze | None) -> None:
    if done[0].photo.name is None:
        write_table(folder / TABLE, (row for outcome in done for row in _rows(outcome, gaze)))
    if result.not_cut:
        with open(folder / NOT_CUT, "w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(("photograph", "eye", "reason"))
            writer.writerows((file.name, what, reason) for file, what, reason in result.not_cut)


def _rows(outcome: Outcome, gaze: Gaze | None) -> list[tuple[str, EyeLabel]]:
    photo: Photo = outcome.photo
    return [
        (
            photo.patch_file(patch.side, face=patch.face),
            EyeLabel(photo.subject(face=patch.face), patch.side, patch.head, gaze),
        )
        for patch in outcome.patches
    ]


def _carry_licence(source: Path, folder: Path) -> None:
    licence = (source if source.is_dir() else source.parent) / LICENCE_FILE
    if licence.is_file():
        shutil.copyfile(licence, folder / LICENCE_FILE)
