"""How fast eyes are drawn on one core: `python -m mggr_tf.drawn_eyes.speed`.

Draws as training does, in groups of five, after everything was compiled. A product of two
float32 matrices on the same core in the same run is the reference, so that numbers of two
machines, or of a busy one, can be distinguished.
"""

from __future__ import annotations

import os
import time

import click
import cv2
import numpy as np

from mggr_tf.drawn_eyes.samples import draw_samples

_SIDE = 512
_PER_GROUP = 5


@click.command()
@click.option("--people", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
def main(people: int, rounds: int) -> None:
    """Draws so many people in each round; the fastest round counts."""
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
    click.echo(f"{rate:.0f} patches a second on one core")
    click.echo(f"reference: {gflops:.0f} GFLOP/s of float32 matrices on the same core")
    click.echo(f"one patch takes as long as {gflops / rate * 1000:.0f} MFLOP of matrix product")


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
