"""Cuts a folder of photographs into a folder of patches, whole or not at all."""

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
"""Lists what is no patch, and why."""

_FEW = 8
"""Photographs that one process cuts in about the time another takes to start."""


@dataclass(frozen=True)
class Cropped:
    """What was cut.

    Attributes:
        photos: how many photographs there were.
        patches: how many patches were written.
        labelled: every patch has a gaze, by its photograph's name or for all of them.
        not_cut: (photograph, eye, reason) of what is no patch; no eye where the
            whole photograph could not be read or shows no face.
        failed: photographs of the latter kind, and labelled ones without both eyes.
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
    """Cuts both eyes out of every photograph.

    Names of the Columbia data set carry their labels over to the patches' names.
    Patches of other photographs come with an `eyes.csv` whose gaze cells are
    empty, for somebody to fill in: where an eye looks, a picture does not say. With
    `gaze` that is known of all photographs, each of which shows one person.

    Args:
        source: a photograph, or a folder of them; folders in it are read too.
        out: the folder to make; the folder around it must exist.
        gaze: of the person in every photograph, in the photograph's axes; None where it is not
            the same in all of them. Patches for (0, 0), a gaze into the lens, are rotated with
            the eye as a device rotates them, and their head poses with them; all others are
            upright.
        workers: processes; None takes all cores, for a few photographs only one.
        force: an existing `out` may be replaced, with all that is in it.
        progress: counts photographs.

    Raises:
        DataError: no photographs, or not one eye in them; then nothing is written.
        OutputExistsError: `out` exists and `force` is false.
        MissingPackageError: the landmark models are not on this machine.
        UsageError: `gaze` is given and the photographs' names carry labels.
    """
    photos = find_photos(source)
    if gaze is not None and photos[0].name is not None:
        raise UsageError(
            f"--gaze is for photographs without labels, and the name of {photos[0].file.name} "
            "carries some; leave --gaze out"
        )
    find_landmark_models()  # complains here rather than from every process
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
            raise DataError(f"{source}: not one eye could be cut; {photo.name}: {reason}")
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
                f"{outcome.photo.file} and another photograph would both give {file.name}; "
                "rename one"
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
    # In a crowd some eyes are always too small; a labelled photograph has two to give.
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
