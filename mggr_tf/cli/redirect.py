"""`mggr-tf redirect`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from mggr_edge.common.cli_group import FiniteRange
from mggr_edge.errors import UsageError
from mggr_tf.cli.options import check_is_free, force_option, notify


@click.command()
@click.argument("pictures", metavar="IMAGE_OR_DIR", type=click.Path(path_type=Path))
@click.option(
    "--model",
    default="default",
    show_default=True,
    help="Run folder, bundle, or name of packaged weights.",
)
@click.option(
    "--pitch", required=True, type=FiniteRange(), help="Target pitch in degrees; positive is up."
)
@click.option(
    "--yaw",
    required=True,
    type=FiniteRange(),
    help="Target yaw in degrees; positive is to the right in the image.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to create.")
@click.option(
    "--side",
    type=click.Choice(["left", "right"]),
    help="Side of the eye, as seen by the subject. Needed for patches whose file names do not "
    "contain the side.",
)
@force_option
def redirect(
    pictures: Path,
    model: str,
    pitch: float,
    yaw: float,
    out: Path,
    side: str | None,
    force: bool,
) -> None:
    """Redirect the gaze in eye patches or whole photographs.

    \b
    Examples:
      mggr-tf redirect photo.jpg --pitch 0 --yaw 0 --out met/
      mggr-tf redirect photo.jpg --model runs/mggr-edge --pitch 0 --yaw 0 --out met/
      mggr-tf redirect patches/ --model bundle --pitch -5 --yaw 10 --out looking-right/

    A picture of 64 x 64 pixels is treated as an eye patch. Every other picture is treated as a
    photograph, and its faces are detected.
    """
    check_is_free(out, force=force)
    from mggr_edge.common.progress import progress
    from mggr_edge.geometry.angles import Gaze
    from mggr_tf.redirect import open_model, redirect_files

    if not (abs(pitch) <= 60 and abs(yaw) <= 60):  # this condition also rejects NaN
        raise UsageError(
            "--pitch and --yaw must lie between -60 and 60 degrees, "
            f"got pitch {pitch:g}, yaw {yaw:g}",
            code="target-out-of-range",
            pitch=pitch,
            yaw=yaw,
        )
    done = redirect_files(
        pictures,
        out,
        bundle=open_model(model),
        target=Gaze(pitch, yaw),
        side=side,  # type: ignore[arg-type]  # click has checked the choice
        force=force,
        progress=progress,
    )
    notify(f"{done.patches} patches, {done.photos} photographs, {done.eyes} eyes redirected")
    for file in done.untouched:
        notify(f"{file}: no eye was redirected; the picture is unchanged")
    for reason, count in Counter(done.left_alone).items():
        notify(f"{count} eyes redirected at reduced strength or not at all: {reason}")
    click.echo(out)
