"""`mggr-tf runs`."""

from __future__ import annotations

from pathlib import Path

import click

from mggr_edge.common.cli_group import MggrGroup
from mggr_edge.errors import UsageError
from mggr_tf.cli.options import FileToWrite, check_is_free, force_option

_RUN = click.Path(path_type=Path)


@click.group(cls=MggrGroup)
def runs() -> None:
    """List runs, print hashes of their weights, or compare two runs.

    \b
    Examples:
      mggr-tf runs list
      mggr-tf runs fingerprint runs/mggr-edge
      mggr-tf runs compare runs/a runs/b --out a-and-b.html
    """


@runs.command("list")
@click.argument("root", type=_RUN, default=Path("runs"))
def list_(root: Path) -> None:
    """List the runs in the folder ROOT with their progress and their best results.

    The default of ROOT is runs/. For each stage, the output shows the best validation result and
    the training step of this result. For a stage without validation, the output shows the best
    logged value on training pairs. Picture differences refer to pixel values in [-1, 1]. Use these
    values only to compare runs of the same recipe. To score a run, use `mggr-tf evaluate`.

    \b
    Examples:
      mggr-tf runs list
      mggr-tf runs list bench/runs
    """
    from mggr_tf.runs.listing import list_runs

    found = list_runs(root)
    if not found:
        click.echo(f"no runs under {root}")
    for run in found:
        if run.problem is not None:
            click.echo(f"{run.path}: {run.problem}")
            continue
        click.echo(f"{run.path}: {run.config}; {run.data}")
        for stage in run.stages:
            click.echo(f"  {stage}")


@runs.command()
@click.argument("run", type=_RUN)
def fingerprint(run: Path) -> None:
    """Print hashes of a run's final weights, for each network and for all networks together.

    Equal weights have equal hashes, even if the weights were saved at different times or on
    different machines.

    \b
    Examples:
      mggr-tf runs fingerprint runs/mggr-edge
    """
    from mggr_tf.runs.folder import RunFolder
    from mggr_tf.runs.listing import fingerprint as of_run

    for name, digest in of_run(RunFolder.open(run)).items():
        click.echo(f"{digest}  {name}")


@runs.command()
@click.argument("a", type=_RUN)
@click.argument("b", type=_RUN)
@click.option(
    "--out",
    type=FileToWrite(),
    default=Path("comparison.html"),
    show_default=True,
    help="HTML file to write. All pictures are embedded in this file.",
)
@force_option
def compare(a: Path, b: Path, out: Path, force: bool) -> None:
    """Write an HTML page that compares two runs.

    The page shows the differences in config and data, the training curves, and sample sheets. A
    sample sheet is a picture of redirected eyes that training saves.

    \b
    Examples:
      mggr-tf runs compare runs/a runs/b --out a-and-b.html
    """
    from mggr_tf.benchmark.document import write_comparison
    from mggr_tf.runs.folder import RunFolder

    if out.suffix.lower() != ".html":
        raise UsageError(
            f"--out {out}: expected a file name that ends in .html",
            code="comparison-not-html",
            path=out,
        )
    check_is_free(out, force=force)
    write_comparison(out, (RunFolder.open(a), RunFolder.open(b)), force=force)
    click.echo(out)
