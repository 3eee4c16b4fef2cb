"""A contact sheet of drawn people: each row one, each column a way to look."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_tf.drawn_eyes.population import draw_subject
from mggr_tf.drawn_eyes.render import render_eye

PEOPLE = 12

_AHEAD = Gaze(0, 0)
COLUMNS: tuple[tuple[str, Gaze, Gaze, Side, float], ...] = (
    ("ahead", _AHEAD, _AHEAD, "right", 0.0),
    ("other eye", _AHEAD, _AHEAD, "left", 0.0),
    ("left", Gaze(0, -15), _AHEAD, "right", 0.0),
    ("right", Gaze(0, 15), _AHEAD, "right", 0.0),
    ("up", Gaze(12, 0), _AHEAD, "right", 0.0),
    ("down", Gaze(-15, 0), _AHEAD, "right", 0.0),
    ("half closed", _AHEAD, _AHEAD, "right", 0.5),
    ("closed", _AHEAD, _AHEAD, "right", 1.0),
    ("head left", Gaze(0, -10), Gaze(0, -25), "right", 0.0),
    ("head right", Gaze(0, 10), Gaze(0, 25), "right", 0.0),
    ("head up", _AHEAD, Gaze(15, 0), "right", 0.0),
    ("head down", _AHEAD, Gaze(-15, 0), "right", 0.0),
)
"""Title, gaze, head pose, side and closure of each column."""

_SIZE_PX = 128
_CAPTION_PX = 22


def contact_sheet(*, seed: int, people: int = PEOPLE) -> NDArray[np.uint8]:
    """[H, W, 3] uint8 RGB: people from the top down, under their column's title."""
    rows = []
    for number in range(people):
        person = draw_subject([seed, number])
        row = [
            render_eye(
                person if side == "right" else person.other_eye(),
                gaze=gaze,
                head_pose=head,
                side=side,
                seed=[seed, number, index],
                closure=closure,
                size_px=_SIZE_PX,
            ).image
            for index, (_, gaze, head, side, closure) in enumerate(COLUMNS)
        ]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate([_captions(), *rows])


def write_contact_sheet(path: Path, *, seed: int, force: bool = False) -> None:
    """Draws a sheet into a PNG file.

    Raises:
        UsageError: the name does not end in .png.
        OutputExistsError: it exists and `force` is false.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: a contact sheet is a picture; name a .png file")
    _, code = cv2.imencode(".png", contact_sheet(seed=seed)[..., ::-1])
    with atomic_file(path, force=force) as temporary:
        temporary.write_bytes(code.tobytes())


def _captions() -> NDArray[np.uint8]:
    strip = np.full((_CAPTION_PX, _SIZE_PX * len(COLUMNS), 3), 255, np.uint8)
    for index, (title, *_) in enumerate(COLUMNS):
        where = (index * _SIZE_PX + 6, _CAPTION_PX - 7)
        cv2.putText(strip, title, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1, cv2.LINE_AA)
    return strip
