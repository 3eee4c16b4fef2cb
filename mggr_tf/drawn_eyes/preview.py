"""Contact sheets of synthetic eyes, and a benchmark of the renderer.

A contact sheet is one image that contains many small images.

The benchmark first compiles all functions. It then renders groups of five images, as training does.
As a reference, it also measures the time of a product of two float32 matrices on the same core. If
both the renderer and the reference are slower than in an earlier run, the cause is the machine or
another program on the machine, not the renderer.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_tf.drawn_eyes.population import draw_subject
from mggr_tf.drawn_eyes.render import render_eye
from mggr_tf.drawn_eyes.samples import draw_samples

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
"""Title, gaze, head pose, side and closure of the eyes in each column of the sheet."""

_SIZE_PX = 128
_CAPTION_PX = 22


def contact_sheet(*, seed: int, people: int = PEOPLE) -> NDArray[np.uint8]:
    """Return a contact sheet, [H, W, 3] uint8 RGB. It has one row for each person.

    Args:
        seed: seed of the people and of the camera noise.
        people: number of people.
    """
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
    """Write a contact sheet to a PNG file.

    Raises:
        UsageError: the file name does not end in .png.
        OutputExistsError: the file exists and `force` is false.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(
            f"{path}: the contact sheet is a PNG file; choose a file name that ends in .png",
            code="contact-sheet-not-png",
            path=path,
        )
    _, code = cv2.imencode(".png", contact_sheet(seed=seed)[..., ::-1])
    with atomic_file(path, force=force) as temporary:
        temporary.write_bytes(code.tobytes())


def _captions() -> NDArray[np.uint8]:
    strip = np.full((_CAPTION_PX, _SIZE_PX * len(COLUMNS), 3), 255, np.uint8)
    for index, (title, *_) in enumerate(COLUMNS):
        where = (index * _SIZE_PX + 6, _CAPTION_PX - 7)
        cv2.putText(strip, title, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1, cv2.LINE_AA)
    return strip


_SIDE = 512
_PER_GROUP = 5


@click.command()
@click.option(
    "--people",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of people to render in each round.",
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of rounds.",
)
def main(people: int, rounds: int) -> None:
    """Measure the rendering speed.

    Render the given number of people in each round, and print the speed of the fastest round.
    """
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    draw_samples(subjects=1, per_group=_PER_GROUP, seed=99, with_flow=True)
    patches = people * 2 * 3 * _PER_GROUP
    products, drawing = [], []
    for number in range(rounds):
        products.append(_seconds_of_product())
        drawing.append(_seconds_of_drawing(people, seed=number))
    rate = patches / min(drawing)
    gflops = 2 * _SIDE**3 / min(products) / 1e9
    click.echo(f"{rate:.0f} patches per second on one core")
    click.echo(f"reference: float32 matrix multiplication, {gflops:.0f} GFLOP/s on the same core")
    click.echo(f"one patch takes as long as {gflops / rate * 1000:.0f} MFLOP of the reference")


def _seconds_of_drawing(people: int, *, seed: int) -> float:
    started = time.perf_counter()
    draw_samples(subjects=people, per_group=_PER_GROUP, seed=seed)
    return time.perf_counter() - started


def _seconds_of_product() -> float:
    a = np.random.default_rng(0).standard_normal((_SIDE, _SIDE), dtype=np.float32)
    fastest = float("inf")
    for _ in range(20):
        started = time.perf_counter()
        a @ a
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


if __name__ == "__main__":
    main()
