"""Write the benchmark's pictures: redirected eyes side by side, and plots of errors.

The shift of a pair is the angle between its source gaze and its target gaze.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import image_from_network, redirector_inputs
from mggr_tf.benchmark.document import Picture, Section
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.metrics import PairScores
from mggr_tf.evaluation.protocol import Redirect, pair_inputs
from mggr_tf.training.stage_watch import write_png


class Figure:
    """A matplotlib figure with one row of axes. The figure needs no display.

    Args:
        count: number of axes.
    """

    def __init__(self, count: int) -> None:
        from matplotlib.figure import Figure as Canvas

        self._figure = Canvas(figsize=(5.5 * count, 4), layout="constrained")
        self.axes = list(self._figure.subplots(1, count, squeeze=False)[0])

    def save(self, path: Path) -> None:
        self.axes[0].legend(fontsize="small")
        with atomic_file(path, force=True) as temporary:
            self._figure.savefig(temporary, dpi=110)


SWEEP_DEG = (-15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0)
_FOLDER = "pictures"
_ROWS = 10
_SEED = 7
_FEWEST = 20
"""Minimum number of pairs for a point of a plot. If there are fewer pairs at an angle, no point is
plotted."""


def draw_pictures(
    folder: Path,
    samples: EyeSamples,
    scores: PairScores,
    redirects: Mapping[str, Redirect],
    titles: Mapping[str, str],
    *,
    plotted: Sequence[str],
    conventions: Conventions,
) -> Section:
    """Write all pictures into the benchmark's folder.

    Args:
        folder: folder of the benchmark.
        samples: eyes to show in the pictures.
        scores: scores of the methods on the reported subjects.
        redirects: name of a method -> its redirector. The columns have the order of this dict.
        titles: name of a method -> its title in the report.
        plotted: names of the methods in `scores` that the plots show.
        conventions: scales of the redirector's inputs.

    Returns:
        section of the report that shows the pictures.
    """
    (folder / _FOLDER).mkdir(exist_ok=True)
    columns = ", ".join(titles[name] for name in redirects)
    write_png(folder / _FOLDER / "grid.png", grid(samples, redirects, conventions))
    write_png(folder / _FOLDER / "sweep.png", sweep(samples, redirects, conventions))
    _plot_by_shift(folder / _FOLDER / "shift.png", scores, plotted, titles)
    _plot_by_head(folder / _FOLDER / "head.png", scores, plotted, titles)
    return Section(
        "Pictures",
        (
            Picture(
                f"{_FOLDER}/grid.png",
                f"Columns from left to right: source, {columns}, real target. Redirections use "
                "labelled source gazes.",
            ),
            Picture(
                f"{_FOLDER}/sweep.png",
                "Two eyes, redirected by each method. Each row starts with the source. The "
                f"target yaw then goes from {SWEEP_DEG[0]:g} to {SWEEP_DEG[-1]:g} degrees, at "
                f"pitch 0. The rows of each eye, from top to bottom: {columns}.",
            ),
            Picture(
                f"{_FOLDER}/shift.png",
                "Gaze error and ST-LPIPS against the shift, which is "
                "the angle between source and target gaze.",
            ),
            Picture(f"{_FOLDER}/head.png", "Gaze error against head yaw."),
        ),
    )


def grid(
    samples: EyeSamples, redirects: Mapping[str, Redirect], conventions: Conventions
) -> NDArray[np.uint8]:
    """Return a picture with one row per pair.

    Each row shows the source, the result of each method, and the real target.

    The result is [H, W, 3] uint8 RGB. The picture is enlarged by a factor of 2.
    """
    pairs = all_pairs(samples, limit=_ROWS, seed=_SEED)
    inputs = pair_inputs(samples, pairs, conventions)
    made = [image_from_network(redirect(inputs)["redirected"]) for redirect in redirects.values()]
    columns = [samples.images[pairs[:, 0]], *made, samples.images[pairs[:, 1]]]
    return _enlarged(np.concatenate([np.concatenate(list(c), axis=0) for c in columns], axis=1))


def sweep(
    samples: EyeSamples, redirects: Mapping[str, Redirect], conventions: Conventions
) -> NDArray[np.uint8]:
    """Return a picture of two eyes that every method redirects to the yaws in `SWEEP_DEG`.

    There is one row for each eye and method. Each row starts with the source. The result is [H, W,
    3] uint8 RGB. The picture is enlarged by a factor of 2.
    """
    frontal = np.flatnonzero(
        (np.abs(samples.head_deg[:, 1]) < 1) & (np.abs(samples.gaze_deg).max(axis=1) < 1)
    )
    where = frontal if len(frontal) else np.arange(len(samples))
    rows = []
    for at in where[np.linspace(0, len(where) - 1, 2).astype(int)]:
        eye = samples.images[at]
        count = len(SWEEP_DEG)
        inputs = redirector_inputs(
            np.repeat(eye[None], count, axis=0),
            source_deg=np.repeat(samples.gaze_deg[at][None], count, axis=0),
            target_deg=np.array([(0.0, yaw) for yaw in SWEEP_DEG], np.float32),
            head_deg=np.repeat(samples.head_deg[at][None], count, axis=0),
            conventions=conventions,
        )
        for redirect in redirects.values():
            made = image_from_network(redirect(inputs)["redirected"])
            rows.append(np.concatenate([eye, *made], axis=1))
    return _enlarged(np.concatenate(rows, axis=0))


def _enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture.repeat(2, axis=0).repeat(2, axis=1)


def _plot_by_shift(
    path: Path, scores: PairScores, names: Sequence[str], titles: Mapping[str, str]
) -> None:
    shift = np.round(scores.shift_deg / 5) * 5
    angles = [a for a in np.unique(shift) if np.sum(shift == a) >= _FEWEST]
    figure = Figure(2)
    for axes, metric, label in zip(
        figure.axes,
        ("gaze_error_deg", "st_lpips"),
        ("gaze error, degrees", "ST-LPIPS"),
        strict=True,
    ):
        for name in ("copy", *names, "target"):
            if name == "target" and metric == "st_lpips":
                continue
            values = scores.metrics[name][metric]
            means = [values[shift == a].mean() for a in angles]
            axes.plot(angles, means, label=_label(name, titles), **_style(name))
        axes.set(xlabel="shift, degrees", ylabel=label, ylim=(0, None))
    figure.save(path)


def _plot_by_head(
    path: Path, scores: PairScores, names: Sequence[str], titles: Mapping[str, str]
) -> None:
    yaws = np.round(scores.head_yaw_deg / 5) * 5
    angles = [a for a in np.unique(yaws) if np.sum(yaws == a) >= _FEWEST]
    figure = Figure(1)
    (axes,) = figure.axes
    for name in (*names, "target"):
        values = scores.metrics[name]["gaze_error_deg"]
        means = [values[yaws == a].mean() for a in angles]
        axes.plot(angles, means, label=_label(name, titles), **_style(name))
    axes.set(xlabel="head yaw, degrees", ylabel="gaze error, degrees", ylim=(0, None))
    figure.save(path)


def _label(name: str, titles: Mapping[str, str]) -> str:
    return {"copy": "copy", "target": "real target"}.get(name) or titles[name]


def _style(name: str) -> dict[str, str]:
    plain = {"copy": "0.6", "target": "black"}
    return {"color": plain[name], "linestyle": "--"} if name in plain else {"marker": "o"}
