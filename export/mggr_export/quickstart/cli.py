"""Command `mggr-tf quickstart`."""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import click

from mggr_edge.common.atomic import reserved_folder
from mggr_edge.common.cli_group import FiniteRange
from mggr_edge.errors import MissingPackageError, OutputExistsError, UsageError
from mggr_export.quickstart import REPORT, RUN
from mggr_tf.cli.options import force_option, notify

DEFAULT_OUT = Path("quickstart")

_INTERRUPTED = 130
_NEEDED = {"tensorflow": "TensorFlow", "skimage": "scikit-image", "av": "PyAV"}


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Output folder.  [default: quickstart; if this folder exists, a number is appended]",
)
@click.option(
    "--minutes",
    default=3.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Training time in minutes. The other steps take about two more minutes.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(min=0),
    help="Random seed of the synthetic people, the weights and the batches.",
)
@click.option(
    "--from-nothing",
    is_flag=True,
    help="Train from scratch instead of fine-tuning the package's weights.",
)
@force_option
def quickstart(
    out: Path | None, minutes: float, seed: int, from_nothing: bool, force: bool
) -> None:
    """Run the whole workflow in a few minutes: render, train, export, redirect, report.

    \b
    Examples:
      mggr-tf quickstart
      mggr-tf quickstart --minutes 10 --out ten-minutes
      mggr-tf quickstart --seed 2 --out second --force

    The command renders synthetic eyes and fine-tunes the package's weights on these eyes. Then the
    command exports a float bundle and an int8 bundle. Finally, the command runs the device pipeline
    on a moving photograph. For comparison, the report also lists the results before fine-tuning.
    With --from-nothing, the command trains all stages from scratch. A few minutes of such training
    are not enough for good results.

    Open report.html in the output folder. This report shows the eyes before and after redirection,
    the metrics, and commands for the next steps.

    The command works without data and without a network connection. If you press Ctrl-C, the
    output folder keeps the training so far.
    """
    chosen = _folder(out, force=force)
    _need_packages()
    from mggr_export.quickstart.journey import run_quickstart

    with chosen as folder:
        try:
            outcome = run_quickstart(
                folder, minutes=minutes, seed=seed, from_nothing=from_nothing, notify=notify
            )
        except KeyboardInterrupt:
            notify("\ninterrupted; " + _how_to_go_on(folder))
            raise SystemExit(_INTERRUPTED) from None
    seen = outcome.demo.iris
    notify(
        f"slope of the measured gaze over the target gaze (1 is ideal): yaw {seen.yaw.slope:.2f}, "
        f"pitch {seen.pitch.slope:.2f}; {sum(outcome.seconds.values()):.0f} seconds in total. "
        "Open the report in a browser:"
    )
    click.echo(outcome.folder / REPORT)


def _folder(out: Path | None, *, force: bool) -> AbstractContextManager[Path]:
    """Return the folder `out`, or a new folder that is reserved for this process.

    Raises:
        OutputExistsError: If `out` exists and `force` is false.
        UsageError: If `out` exists and is not the output of a quickstart.
    """
    if out is None:
        return reserved_folder(DEFAULT_OUT)
    if out.exists() and not force:
        raise OutputExistsError(out)
    ours = (out / REPORT).is_file() or (out / RUN / "run.json").is_file()
    if out.exists() and not ours:
        raise UsageError(
            f"{out} is not the output of a quickstart; --force can replace only such folders",
            code="force-not-a-quickstart",
            path=out,
        )
    return nullcontext(out)


def _need_packages() -> None:
    for module, name in _NEEDED.items():
        if find_spec(module) is None:
            raise MissingPackageError(name, "export")


def _how_to_go_on(folder: Path) -> str:
    """Return the commands that continue an interrupted quickstart, one per line."""
    from mggr_tf.runs.folder import RunFolder

    if not (folder / RUN / "run.json").is_file():
        return "the training had not started yet. Start again with: mggr-tf quickstart"
    run = RunFolder.open(folder / RUN)
    steps = [
        ["mggr-tf", "train", "--stage", "joint", "--out", str(run.path), "--resume"],
        ["mggr-tf", "export", str(run.path), "--int8"],
    ]
    if run.is_complete("joint"):
        del steps[0]
    lines = [f"the training so far is saved in {run.path}. Continue with:"]
    return "\n  ".join([*lines, *(shlex.join(step) for step in steps)])
