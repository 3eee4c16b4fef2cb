"""`mggr-tf data motion`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_edge.errors import UsageError
from mggr_tf.cli.options import notify, subjects_option

if TYPE_CHECKING:
    from mggr_tf.data.schema import EyeSamples
    from mggr_tf.evaluation.eye_motion import Measured

_DRAWN = "synthetic"
_PEOPLE = 150
_PER_SIDE = 10


@click.command()
@click.argument("source")
@subjects_option
@click.option(
    "--people",
    type=click.IntRange(min=1),
    help=f"Number of people to render for `{_DRAWN}`; default {_PEOPLE}.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help=f"Seed for the random choice of the people of `{_DRAWN}`; default 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def motion(
    source: str,
    subjects: tuple[str, ...] | None,
    people: int | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Measure how irises, eye corners and lids move and change their brightness with the gaze.

    \b
    Examples:
      mggr-tf data motion synthetic
      mggr-tf data motion patches/ --subjects 0001-0032

    SOURCE is `synthetic`, or a folder that `train --data` accepts. The iris model of the default
    bundle finds the eye in every patch with a frontal head pose.

    A slope is the movement in pixels per degree of yaw or pitch, for patches of 64 x 64 pixels.
    Slopes are fitted by least squares within each person, side of the eye, and head pose. The
    column `error` is the standard error over people. The column `Columbia` is the value for people
    0001-0032 of the Columbia data set. The column `ratio` is the value divided by the value for
    Columbia.

    The second table contains the change of the brightness in regions of the patch, in percent of
    the mean brightness of the patch per degree of pitch. Before, each patch is aligned with another
    patch of the same person, side and head pose.
    """
    if source != _DRAWN and (people is not None or seed is not None):
        raise UsageError(
            f"--people and --seed are only accepted for `{_DRAWN}`, not for the folder {source}; "
            "omit both options",
            code="drawing-options-for-folder",
            path=source,
        )
    if source == _DRAWN and subjects is not None:
        raise UsageError(
            f"--subjects and --split are only accepted for folders; for `{_DRAWN}`, use --people",
            code="subjects-for-synthetic",
        )
    from mggr_edge.common.progress import progress
    from mggr_edge.models.bundle import Bundle
    from mggr_edge.vision.iris import IrisFinder
    from mggr_tf.evaluation import eye_motion, eye_shading

    if source == _DRAWN:
        samples = _drawn(people or _PEOPLE, 1 if seed is None else seed)
    else:
        samples = _read(Path(source), subjects)
    with Bundle.open("default") as bundle:
        finder = IrisFinder(bundle.model("iris"))
        moved = eye_motion.measure_eye_motion(samples, finder, progress=progress).rows()
    shaded = eye_shading.measure_eye_shading(samples, progress=progress).rows()
    patches = eye_motion.frontal(samples).sum()
    notify(f"{samples.source}: {patches} patches with a frontal head pose")
    if as_json:
        click.echo(json.dumps({n: row._asdict() for n, row in (moved | shaded).items()}))
        return
    _print_table("motion", moved, eye_motion.COLUMBIA.rows())
    click.echo()
    _print_table("shading", shaded, eye_shading.COLUMBIA.rows())


def _drawn(people: int, seed: int) -> EyeSamples:
    from mggr_edge.common.progress import progress
    from mggr_tf.evaluation.estimator_scores import draw_frontal_eyes

    return draw_frontal_eyes(people=people, per_side=_PER_SIDE, seed=seed, progress=progress)


def _read(folder: Path, subjects: tuple[str, ...] | None) -> EyeSamples:
    from mggr_tf.data.listing import samples_of
    from mggr_tf.data.source import scan_source

    return samples_of(scan_source(folder, subjects=subjects), source=folder)


def _print_table(title: str, found: dict[str, Measured], real: dict[str, Measured]) -> None:
    click.echo(f"{title:20}{'value':>9}{'error':>8}{'Columbia':>10}{'ratio':>7}")
    for name, row in found.items():
        ratio = row.value / real[name].value
        click.echo(f"{name:20}{row.value:9.3f}{row.error:8.3f}{real[name].value:10.3f}{ratio:7.2f}")
