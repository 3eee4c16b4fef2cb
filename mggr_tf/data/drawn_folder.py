"""Synthetic patches as files, named as those of the Columbia Gaze Data Set.

A person fills ten groups (five head poses, two sides) of 21 gazes each. Files
are written group by group, so that any count leaves pairs, frontal heads first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_tf.data.columbia import PatchName
from mggr_tf.data.names import SYNTHETIC_MARK, drawn_name
from mggr_tf.data.patch_files import patch_jpeg
from mggr_tf.drawn_eyes.population import draw_subject
from mggr_tf.drawn_eyes.render import render_eye
from mggr_tf.drawn_eyes.samples import Progress

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
