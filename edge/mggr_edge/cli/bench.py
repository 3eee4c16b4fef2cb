"""The command `mggr-edge bench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from mggr_edge.common.cli_group import FiniteRange, echo_error


@click.command()
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Time only this model. Repeat the option for several models. Default: all models.",
)
@click.option(
    "--threads",
    multiple=True,
    type=click.IntRange(min=1),
    default=(1,),
    show_default=True,
    help="Run each model with this number of threads. Repeat the option for several numbers.",
)
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=FiniteRange(min=0),
    help="Measure each model for this time in seconds. If a model has several files, the time is "
    "divided among them.",
)
@click.option(
    "--floor",
    "floors",
    multiple=True,
    metavar="KEY=VALUE",
    help="Require a minimum speed. KEY consists of words that select table rows, followed by "
    "`per_second` or `speedup`. If no selected row reaches VALUE, the exit code is 1. Examples: "
    "redirector.int8.per_second=200, redirector.onnx.speedup=0.5. Repeat the option for several "
    "minimums.",
)
@click.option(
    "--clip",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Time the processing of this video, instead of single models. Print separate times for "
    "decoding, for the models and for the other stages.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def bench(
    bundles: tuple[str, ...],
    models: tuple[str, ...],
    threads: tuple[int, ...],
    seconds: float,
    floors: tuple[str, ...],
    clip: Path | None,
    as_json: bool,
) -> None:
    """Time the models of bundles on every installed runtime.

    A bundle is a folder or zip file of models that `mggr-tf export` wrote. A runtime is a library
    that runs models, for example LiteRT. The command prints a table. Each row of the table contains
    the times of one model file on one runtime.

    The command calls the files of a model in turns, so the ratios of their times are valid even on
    a busy machine. `speedup` is the speed of a row divided by the speed of the model's first row
    (above 1 is faster). `memory` is the memory growth of a process that loads and runs only this
    file. TensorRT engines from `build-engine` are timed, too (not yet tested on hardware).

    \b
    Examples:
      mggr-edge bench default default-int8 --model redirector
      mggr-edge bench bundle --threads 1 --threads 2 --json
      mggr-edge bench bundle --floor redirector.per_second=60
      mggr-edge bench default --clip call.mp4
    """
    from mggr_edge.common.progress import progress
    from mggr_edge.errors import UsageError
    from mggr_edge.tools.bench.models import bench as time_bundles
    from mggr_edge.tools.bench.pipeline import time_pipeline
    from mggr_edge.tools.bench.result import missed, parse_floor, table

    if clip is not None:
        if models or floors:
            raise UsageError(
                "--clip times all models together; omit --model and --floor",
                code="clip-with-model-or-floor",
            )
        whole = [time_pipeline(clip, one, max_faces=1, progress=progress) for one in bundles]
        as_text = "\n".join(one.in_words() for one in whole)
        click.echo(json.dumps([one.as_json() for one in whole], indent=2) if as_json else as_text)
        return
    wanted = [parse_floor(text) for text in floors]
    rows = time_bundles(
        bundles,
        models=models or None,
        threads=tuple(dict.fromkeys(threads)),
        seconds=seconds,
        progress=progress,
    )
    click.echo(json.dumps([row.as_json() for row in rows], indent=2) if as_json else table(rows))
    faults = missed(wanted, rows)
    for fault in faults:
        echo_error(fault)
    sys.exit(1 if faults else 0)
