"""`mggr-tf data`: drawing and checking eye patches."""

from __future__ import annotations

from pathlib import Path

import click

from mggr_edge.cli_errors import MggrGroup
from mggr_edge.errors import UsageError
from mggr_tf.cli.options import force_option, say

_FOUND_BAD = 1


@click.group(cls=MggrGroup)
def data() -> None:
    """Draw and check labelled eye patches."""


@data.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--count", default=2100, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@force_option
def synth(out: Path, count: int, seed: int, force: bool) -> None:
    """Draw synthetic eye patches with exact labels, in the Columbia file naming.

    \b
    Example:
      mggr-tf data synth eyes/ --count 2100 --seed 1     (10 people, 210 patches each)
    """
    from mggr_edge.progress import from_counts, progress
    from mggr_tf.data.synthetic import write_dataset

    with progress("drawing", count) as advance:
        written = write_dataset(
            out, count=count, seed=seed, progress=from_counts(advance), force=force
        )
    say(f"wrote {written} patches")
    click.echo(out)


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Count patches, and list files that must not be trained on.

    \b
    Example:
      mggr-tf data check patches/

    Counts by subject, side, head pose and gaze; lists files that are corrupt,
    blank, of the wrong size, or show no eye. Exits with 1 when there are any.
    """
    from mggr_tf.data import columbia

    scanned = columbia.scan(folder)
    if not scanned.names and not scanned.bad:
        raise UsageError(f"{folder} holds no patches")
    tables = {
        "subject": lambda name: name.subject,
        "side": lambda name: name.side,
        "head yaw": lambda name: f"{name.head.yaw_deg:+g}",
        "gaze pitch": lambda name: f"{name.gaze.pitch_deg:+g}",
        "gaze yaw": lambda name: f"{name.gaze.yaw_deg:+g}",
    }
    for title, what in tables.items():
        counted = scanned.counts(what)
        click.echo(f"{title}: " + ", ".join(f"{key} {n}" for key, n in counted.items()))
    click.echo(f"{len(scanned.names)} good, {len(scanned.bad)} bad; {scanned.licence}")
    for bad in scanned.bad:
        click.echo(f"{bad.file.name}: {bad.reason}")
    if scanned.bad:
        raise SystemExit(_FOUND_BAD)
