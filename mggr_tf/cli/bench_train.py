"""`mggr-tf bench-train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_edge.common.cli_group import FiniteRange
from mggr_edge.errors import UsageError
from mggr_tf.cli.options import FileToWrite, check_is_free, force_option, say

if TYPE_CHECKING:
    from mggr_tf.config.stages import Stage


@click.command()
@click.option(
    "--config",
    "config_name",
    default="mggr-edge",
    show_default=True,
    help="A packaged config or a .yaml file.",
)
@click.option(
    "--stage",
    type=click.Choice(["estimator", "judge", "coarse", "fine", "joint"]),
    default="joint",
    show_default=True,
)
@click.option(
    "--data",
    default="synthetic",
    show_default=True,
    help="A folder of patches (see docs/data.md), or `synthetic`.",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the config.")
@click.option(
    "--seconds",
    default=60.0,
    show_default=True,
    type=FiniteRange(min=0),
    help="Of timing, all together; twenty rounds at least.",
)
@click.option("--profile", is_flag=True, help="Also say where a step's time goes, op by op.")
@click.option("--json", "json_file", type=FileToWrite(), help="Also write a file.")
@click.option(
    "--vgg16",
    type=click.Path(path_type=Path),
    help="VGG-16 weights (.h5, no dense layers), for configs whose losses compare its features.",
)
@force_option
def bench_train(
    config_name: str,
    stage: Stage,
    data: str,
    changes: tuple[str, ...],
    seconds: float,
    profile: bool,
    json_file: Path | None,
    vgg16: Path | None,
    force: bool,
) -> None:
    """Time the training of a stage here: batches, steps, and what their convolutions take alone.

    \b
    Examples:
      mggr-tf bench-train
      mggr-tf bench-train --data patches/ --seconds 120 --profile
      mggr-tf bench-train --config prgan-edge --json speed.json
      mggr-tf bench-train --set models.features_precision=float32

    Four contestants take turns in one process, so that ratios hold on a machine that is busy
    elsewhere: making batches, steps on one batch again and again, steps as training takes them,
    and one graph with exactly the convolutions that a step executes, forwards and backwards.
    Nothing is trained that is kept.
    """
    if json_file is not None:
        check_is_free(json_file, force=force)
    if vgg16 is not None and not vgg16.is_file():
        raise UsageError(f"--vgg16 {vgg16}: no such file")
    from mggr_edge.common.atomic import atomic_file
    from mggr_edge.common.progress import progress
    from mggr_tf.benchmark.training.bench import bench_training
    from mggr_tf.benchmark.training.report import profile_text, speed_text
    from mggr_tf.config.files import load_config
    from mggr_tf.data.source import open_split

    config = load_config(config_name, changes=changes)
    config.stage(stage)  # a config may lack it
    split = open_split(data, config=config, stage=stage, subjects=None, progress=progress, say=say)
    found = bench_training(config, stage, split, seconds=seconds, progress=progress, vgg16=vgg16)
    click.echo(speed_text(found))
    if profile:
        click.echo("\n" + profile_text(found))
    if json_file is not None:
        with atomic_file(json_file, force=force) as temporary:
            temporary.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
