"""Define the command `mggr-tf evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mggr_edge.errors import UsageError
from mggr_tf.cli.options import FileToWrite, check_is_free, force_option, notify, subjects_option

if TYPE_CHECKING:
    from mggr_tf.evaluation.source_gaze import SourceGaze


@click.command()
@click.argument("run")
@click.option("--data", required=True, help="Folder of patches, or `synthetic`.")
@click.option(
    "--judge",
    type=click.Path(path_type=Path),
    help="Score redirected pictures with the judge of this run. A judge is a second gaze "
    "estimator (see `train --stage judge`).",
)
@click.option(
    "--estimator",
    is_flag=True,
    help="Score only the gaze estimator of the run. No judge is needed.",
)
@click.option(
    "--still",
    is_flag=True,
    help="Redirect eyes to their own gaze and measure how far the irises move. No judge is needed.",
)
@click.option(
    "--bundle",
    metavar="BUNDLE",
    help="Exported bundle of the run, whose models are used. Needs --estimator or --still.",
)
@click.option(
    "--source",
    type=click.Choice(["estimated", "labelled"]),
    help="Source gaze of the redirections: the estimate of the run's estimator, as on a device, "
    "or the label.  [default: both; the table of results has one row for each]",
)
@click.option(
    "--align",
    is_flag=True,
    help="Move each real target picture to the place of its source, by the skin around the eye. "
    "Needs --judge.",
)
@subjects_option
@click.option(
    "--pairs",
    default=4000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of scored pairs.",
)
@click.option(
    "--quick", is_flag=True, help="Omit ST-LPIPS, FD-VGG and KD-VGG, which take most of the time."
)
@click.option(
    "--lpips-weights",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Also compute stock LPIPS. Pass two files: the `.pth` of torchvision's vgg16 or alexnet, "
    "and the linear `.pth` of the package lpips.",
)
@click.option(
    "--inception-weights",
    type=click.Path(path_type=Path),
    help="Also compute FID and KID with Keras' InceptionV3. Pass the `.h5` file of this network "
    "without the top.",
)
@click.option(
    "--json", "json_file", type=FileToWrite(), help="Also write the scores as JSON to this file."
)
@force_option
def evaluate(
    run: str,
    data: str,
    judge: Path | None,
    estimator: bool,
    still: bool,
    bundle: str | None,
    source: SourceGaze | None,
    align: bool,
    subjects: tuple[str, ...] | None,
    pairs: int,
    quick: bool,
    lpips_weights: tuple[Path, ...],
    inception_weights: Path | None,
    json_file: Path | None,
    force: bool,
) -> None:
    """Score a run on subjects that are not training subjects of the run or of the judge.

    \b
    Examples:
      mggr-tf evaluate runs/real --data patches/ --judge runs/judge --subjects 0033-0038
      mggr-tf evaluate runs/real --data patches/ --judge runs/judge --json scores.json
      mggr-tf evaluate default --data patches/ --judge runs/judge
      mggr-tf evaluate default --data patches/ --estimator
      mggr-tf evaluate default --data patches/ --judge runs/judge --source estimated
      mggr-tf evaluate default --data patches/ --still --bundle default-int8

    Without --subjects, the command scores all subjects that neither the run nor the judge was
    trained on.

    Columns: L1, MSE, PSNR, SSIM and ST-LPIPS compare the redirected picture with the real picture
    of the target gaze. `gaze error` is the angle in degrees between the judge's estimate and the
    target gaze. `outside` is the mean change of the source picture outside both irises. The row
    `target` shows how much the real picture differs from the source there. FD-VGG and KD-VGG are
    the Fréchet distance and the kernel distance between all redirected and all real pictures.

    Differences between two rows have a 95 % interval over resampled subjects. `ahead` means that
    the whole interval lies on the better side of zero.

    The row `redirected` uses the labelled gaze of the source. A device does not have this label.
    The row `redirected_estimated` uses the estimate of the run's estimator. If the data has both
    eyes of a photograph, the mean of both estimates is used. The redirector and the judge receive
    the labelled head pose in both rows.

    --align is for patches that were cropped one by one, as in most data sets. Each crop follows its
    eye. A target picture then also shows the motion of the crop, which a device does not need to
    imitate. Pairs that cannot be aligned are not scored.

    --estimator scores the run's gaze estimator on every patch. The output contains the errors and
    the correlation of estimates and labels. If the estimator predicts the state of an eye, the
    output also contains rows for openness, visible iris and occlusion. The state is scored on
    synthetic eyes of people that are in no training data.

    --still redirects every eye from its estimated gaze to its labelled gaze. A perfect method would
    not move the iris. The iris model measures how far the iris moves. As on a device, an eye stays
    unchanged if the estimate is within 2.6 degrees of the label.

    \b
    Stock LPIPS, FID and KID need weights that you must provide:
      mggr-tf evaluate ... --lpips-weights vgg16.pth --lpips-weights vgg_linear.pth
    """
    if json_file is not None:
        check_is_free(json_file, force=force)
    if (modes := (judge is not None) + estimator + still) != 1:
        raise UsageError(
            "expected exactly one of --judge RUN (score redirected pictures), --estimator (score "
            f"the gaze estimator) and --still (measure iris movements), got {modes}",
            code="not-one-mode",
            found=modes,
        )
    if judge is None and source is not None:
        raise UsageError(
            f"--source {source} needs --judge", code="source-without-judge", source=source
        )
    if judge is None and align:
        raise UsageError("--align needs --judge", code="align-without-judge")
    if judge is not None and bundle is not None:
        raise UsageError(
            f"--bundle {bundle} needs --estimator or --still; it cannot be combined with --judge",
            code="bundle-with-judge",
            bundle=bundle,
        )
    from mggr_edge.common.progress import progress
    from mggr_tf.evaluation.network_metrics import open_network_metrics
    from mggr_tf.evaluation.report import summarise, summary_text, write_json
    from mggr_tf.evaluation.score_run import score_run, score_run_estimator, score_still_eyes

    if judge is None:
        from mggr_tf.evaluation.estimator_scores import scores_text
        from mggr_tf.evaluation.eye_motion import still_text

        found: Any
        if still:
            found, about = score_still_eyes(
                run, data=data, subjects=subjects, bundle=bundle, progress=progress, notify=notify
            )
            click.echo(still_text(found))
        else:
            found, about = score_run_estimator(
                run, data=data, subjects=subjects, bundle=bundle, progress=progress, notify=notify
            )
            click.echo(scores_text(found))
        if json_file is not None:
            write_json(json_file, found, about=about, force=force)
            notify(f"wrote {json_file}")
        return
    evaluation, about = score_run(
        run,
        judge,
        data=data,
        subjects=subjects,
        limit=pairs,
        network_metrics=open_network_metrics(
            quick=quick, lpips_weights=lpips_weights, inception_weights=inception_weights
        ),
        source=source,
        aligned=align,
        progress=progress,
        notify=notify,
    )
    summary = summarise(evaluation)
    click.echo(summary_text(summary))
    if json_file is not None:
        write_json(json_file, summary, about=about, force=force)
        notify(f"wrote {json_file}")
