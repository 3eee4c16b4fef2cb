"""`python -m mggr_export.tools.weights`, or `make weights`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mggr_edge.common.cli_group import FiniteRange, OneLineError
from mggr_edge.errors import MggrError

# Before TensorFlow is loaded: its notes of what this processor could do are nobody's business.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_INTERRUPTED = 130


@click.command()
@click.option(
    "--out",
    default="runs/default-weights",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the training is kept; the same command goes on with it.",
)
@click.option(
    "--minutes",
    default=150.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Of training the estimator and the redirector; drawing, judging and exporting add "
    "about twenty. A training that was begun keeps its own.",
)
@click.option("--people", type=click.IntRange(min=2), help="Drawn people; default: the config's.")
@click.option(
    "--portraits",
    type=click.Path(path_type=Path),
    help="Folder of photographed eyes whose gaze is known (`mggr-tf data crop --gaze`), for the "
    "stage adapted. Default: train on drawn eyes alone.",
)
@click.option("--portraits-split", metavar="FILE", help="Split file of the people in it.")
@click.option(
    "--from",
    "start",
    metavar="RUN",
    help="Run whose networks the training starts from, or `default`: those of this installation. "
    "Default: from nothing.",
)
@click.option("--install/--no-install", default=True, help="Put the result into the package.")
def main(
    out: Path,
    minutes: float,
    people: int | None,
    portraits: Path | None,
    portraits_split: str | None,
    start: str | None,
    install: bool,
) -> None:
    """Train the default weights, measure them, and put them into the package.

    Without --portraits everything is drawn. Ctrl-C keeps what was trained.
    """
    from mggr_export.tools.weights.making import make_weights, put_into_package
    from mggr_tf.runs.listing import open_run

    try:
        made = make_weights(
            out,
            minutes=minutes,
            people=people,
            portraits=portraits,
            portraits_split=portraits_split,
            start=None if start is None else open_run(start),
            say=_say,
        )
        click.echo((made / "MODEL_CARD.md").read_text(encoding="utf-8"))
        if install:
            put_into_package(made, say=_say)
    except MggrError as error:
        raise OneLineError(str(error)) from error
    except KeyboardInterrupt:
        _say("\ninterrupted; what was trained is kept, and the same command goes on with it")
        raise SystemExit(_INTERRUPTED) from None


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
