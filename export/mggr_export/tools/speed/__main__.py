"""`python -m mggr_export.tools.speed`, or `make bench`."""

from __future__ import annotations

import os

import click

from mggr_edge.common.cli_group import FiniteRange, OneLineError
from mggr_edge.errors import MggrError

# Before TensorFlow is loaded: its notes of what this processor could do are nobody's business.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@click.command()
@click.argument("run", default="default")
@click.option("--seconds", default=30.0, show_default=True, type=FiniteRange(min=0))
def main(run: str, seconds: float) -> None:
    """Time a run's redirector beside PRGAN's generator at its published size.

    Both in one TFLite interpreter on one thread, warp included, in turns; beside them
    every convolution of the redirector alone, and a product of float matrices, which
    says what this core can do at best.
    """
    from mggr_edge.common.progress import progress
    from mggr_export.formats.keras_models import models_of_run
    from mggr_export.tools.speed.measure import measure_speed
    from mggr_export.tools.speed.report import speed_text
    from mggr_tf.runs.default_run import open_run

    try:
        redirector = models_of_run(open_run(run))["redirector"]
        click.echo(speed_text(measure_speed(redirector, seconds=seconds, progress=progress)))
    except MggrError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
