"""How far each training came: its error against its steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_tf.benchmark.campaign import run_path
from mggr_tf.benchmark.document import Picture
from mggr_tf.benchmark.entrants import Entrant
from mggr_tf.benchmark.figure import Figure
from mggr_tf.runs.folder import RunFolder

_FILE = "pictures/curves.png"
_PARTS = 40
"""A curve is the mean of so many parts of its training: single batches differ by chance."""

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_curves(folder: Path, entrants: Sequence[Entrant]) -> Picture:
    """Draws the L1 of every entrant's training batches, in its last stage."""
    figure = Figure(1)
    (axes,) = figure.axes
    for entrant in entrants:
        run = RunFolder.open(run_path(folder, entrant))
        stage = run.config.last_stage(portraits=False)
        metric = "l1_coarse" if stage == "coarse" else "l1"
        if logged := run.logged(stage, metric):
            steps, values = smoothed(logged)
            axes.plot(steps, values / 2, label=entrant.title)  # of pictures in [-1, 1]
    axes.set(xlabel="steps of the last stage", ylabel="L1 on training batches", xscale="log")
    figure.save(folder / _FILE)
    return Picture(
        _FILE,
        "L1 on training batches (augmented, so above the table's) against steps. A curve that "
        "still falls at its end is of a method that was not trained to its own.",
    )


def smoothed(logged: dict[int, float]) -> Curve:
    """Steps and values of a log, averaged over equal parts of it."""
    steps = np.array(sorted(logged), float)
    values = np.array([logged[int(step)] for step in steps])
    parts = min(_PARTS, len(steps))
    means = [
        np.array([part.mean() for part in np.array_split(column, parts)])
        for column in (steps, values)
    ]
    return means[0], means[1]
