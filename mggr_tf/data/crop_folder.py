"""Cuts a folder of photographs into a folder of patches, as one atomic operation."""

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
"""File that lists the eyes without a patch, and the reasons."""

_FEW = 8
"""Number of photographs that one process cuts in about the time that another process takes to
start."""


@dataclass(frozen=True)
class Cropped:
    """Result of cutting a folder of photographs.

    Attributes:
        photos: number of photographs.
        patches: number of patches that were written.
        labelled: whether every patch has a gaze label, from its photograph's name or from the
            `gaze` argument.
        not_cut: (photograph, eye, reason) for each eye without a patch. The eye is empty if the
            photograph could not be read or shows no face.
        failed: photographs that could not be read or show no face, and labelled photographs with
            fewer than two patches.
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

    If photographs are named as in the Columbia data set, the names of the patches contain the same
    labels. Patches of other photographs are listed in an `eyes.csv` with empty gaze cells, which
    the user fills in, because the gaze cannot be read from the image. With the argument `gaze`, all
    photographs have this gaze, and each photograph shows one subject.

    Args:
        source: a photograph, or a folder of photographs; subfolders are included.
        out: path of the new folder; its parent folder must exist.
        gaze: gaze of the subject in every photograph, in the photograph's axes; None if it differs
            between photographs. If it is (0, 0), into the lens, patches and head poses are rotated
            with the eye, as on the device. All other patches are upright.
        workers: number of processes; None uses all cores, or one process for a few photographs.
        force: whether an existing `out` is replaced, with all its content.
        progress: progress bar factory; it counts photographs.

    Raises:
        DataError: there are no photographs, or no eye could be cut; nothing is written in this
            case.
        OutputExistsError: `out` exists and `force` is false.
        MissingPackageError: the landmark models are not installed.
        UsageError: `gaze` is given although the photographs' names contain labels.
    """
    photos = find_photos(source)
    if gaze is not None and photos[0].name is not None:
        raise UsageError(
            "--gaze is only for photographs without labels in their names, but the name of "
            f"{photos[0].file.name} contains labels; omit --gaze",
            code="gaze-for-labelled-photos",
            name=photos[0].file.name,
        )
    find_landmark_models()  # Raises the error once, before the processes start.
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
                f"patches of {outcome.photo.file} and of another photograph would both be named "
                f"{file.name}; rename one of the photographs",
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
    # In a photograph of a group, some eyes are usually too small; a labelled photograph shows one
    # subject, so two patches are expected.
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
