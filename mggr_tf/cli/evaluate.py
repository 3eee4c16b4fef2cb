"""`mggr-tf evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from mggr_tf.cli.options import check_is_free, force_option, say, subjects_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="A folder of patches, or `synthetic`.")
@click.option(
    "--judge",
    required=True,
    type=click.Path(path_type=Path),
    help="A run whose stage `judge` is complete; made by `train --stage judge`.",
)
@subjects_option
@click.option(
    "--pairs", default=4000, show_default=True, type=click.IntRange(min=1), help="At most so many."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write a file.")
@force_option
def evaluate(
    run: Path,
    data: str,
    judge: Path,
    subjects: tuple[str, ...] | None,
    pairs: int,
    json_file: Path | None,
    force: bool,
) -> None:
    """Score a run on subjects that neither it nor the judge was trained on.

    \b
    Examples:
      mggr-tf evaluate runs/real --data patches/ --judge runs/judge --subjects 0033-0038
      mggr-tf evaluate runs/real --data patches/ --judge runs/judge --json scores.json

    Without --subjects it takes all that both never saw. Columns: L1, MSE, PSNR and
    SSIM against the real picture of the target gaze, and the angle in degrees
    between what the judge sees and what was asked for.
    """
    if json_file is not None:
        check_is_free(json_file, force=force)
    from mggr_edge.progress import progress
    from mggr_tf.evaluation.report import scores_text, write_json
    from mggr_tf.evaluation.score_run import score_run

    scores, about = score_run(
        run, judge, data=data, subjects=subjects, limit=pairs, progress=progress, say=say
    )
    click.echo(scores_text(scores))
    if json_file is not None:
        write_json(json_file, scores, about=about, force=force)
        say(f"wrote {json_file}")
