"""A folder of eyes that look into the lens, as `mggr-tf data crop --gaze 0,0` makes it."""

from __future__ import annotations

from pathlib import Path

from mggr_edge.geometry.angles import Gaze, Side
from mggr_tf.data.folder import TABLE, write_table
from mggr_tf.data.listing import EyeLabel
from mggr_tf.data.patch_files import LICENCE_FILE, patch_jpeg
from mggr_tf.drawn_eyes import draw_subject, render_eye

LICENCE = "public domain (drawn)"
LENS = Gaze(0.0, 0.0)


def write_portraits(folder: Path, *, people: int, seed: int = 77) -> Path:
    """Draws both eyes of some people, called `person-00` and on."""
    folder.mkdir()
    (folder / LICENCE_FILE).write_text(LICENCE)
    rows = []
    sides: tuple[Side, Side] = ("right", "left")
    for number in range(people):
        person = draw_subject([seed, number])
        for side in sides:
            drawn = render_eye(
                person if side == "right" else person.other_eye(),
                gaze=LENS,
                head_pose=LENS,
                side=side,
                size_px=64,
                seed=number,
            )
            name = f"person-{number:02d}_{side}.jpg"
            (folder / name).write_bytes(patch_jpeg(drawn.image))
            rows.append((name, EyeLabel(f"person-{number:02d}", side, LENS, LENS)))
    write_table(folder / TABLE, rows)
    return folder
