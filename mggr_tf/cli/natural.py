"""Define the command `mggr-tf natural`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mggr_edge.errors import UsageError
from mggr_tf.cli.options import notify

if TYPE_CHECKING:
    from mggr_edge.geometry.angles import Gaze
    from mggr_edge.models.bundle import Bundle
    from mggr_tf.evaluation.clips import KnownGaze
    from mggr_tf.evaluation.frame_labels import FrameLabels
    from mggr_tf.evaluation.ground_truth import TruthScores
    from mggr_tf.evaluation.label_scores import LabelScores
    from mggr_tf.evaluation.naturalness import Judge, Naturalness
    from mggr_tf.models.stlpips import Lpips

DRAWN = "synthetic"
_PEOPLE = 3

PAIRS = "synthetic-pairs"
_PAIRED_PEOPLE = 30
"""Number of people for `synthetic-pairs`. Each person has one pair for each eye."""


@dataclass(frozen=True)
class _Row:
    source: str
    target: str
    found: Naturalness
    jitter: float | None = None
    known: KnownGaze | None = None
    labels: LabelScores | None = None

    def as_json(self) -> dict[str, Any]:
        known = (
            {} if self.known is None else {f"known_{k}": v for k, v in asdict(self.known).items()}
        )
        facts = {"source": self.source, "target": self.target, **self.found.as_json()}
        labels = {} if self.labels is None else {"labels": self.labels.as_json()}
        return {**facts, "jitter": self.jitter, **known, **labels}


@click.command()
@click.argument("bundle")
@click.argument(
    "sources",
    metavar="SOURCE...",
    nargs=-1,
    required=True,
    callback=lambda _context, _parameter, sources: _existing(sources),
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("camera",),
    show_default=True,
    metavar="camera|PITCH,YAW",
    help="Target gaze: `camera`, or two angles in degrees. May be repeated.",
)
@click.option(
    "--judge",
    type=click.Path(path_type=Path),
    help="Run folder with a judge, which is a second gaze estimator. The judge must not be "
    "trained on the people in SOURCE.",
)
@click.option(
    "--labels",
    "label_files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE.csv",
    help="File with labels of eyes in frames of one SOURCE. The results are compared with these "
    "labels. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def natural(
    bundle: str,
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    judge: Path | None,
    label_files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Measure how natural a redirected clip or picture looks, before it is encoded.

    \b
    Columns:
      outside  number of changed pixels outside the masks of the redirected eyes;
               should be 0
      border   95th percentile of the gradient along the borders of the masks,
               divided by the same value of the input; 1 means no change
      pasted   value of `border` for a small square picture that is pasted with
               hard edges, for comparison
      lids     share of closing and closed eyes whose openness does not change
      fully    share of eyes with full strength, or that already look at the
             target; counts only open eyes with a
               frontal head pose and a gaze within 20 degrees of the target
      pairs    share of faces whose eyes have strengths that differ by more than
               0.2; counts only faces with a frontal head pose and two open eyes
      judge    mean angle in degrees between the target and the estimate of the
               judge, before -> after redirection
      known    mean angle in degrees between the target and the true gaze,
               before -> after redirection; only for `synthetic`
      steady   difference between consecutive frames inside the redirected eyes,
               after alignment by optical flow: value of the output, divided by
               that of the input; at most 1 is as steady as the input
      flicker  mean change of direction of the strength from frame to frame
      jitter   movement of the irises in the output, divided by the movement in
               the input, with simulated camera noise; only for pictures

    SOURCE `synthetic-pairs` means 60 pairs of synthetic eyes, in frames of 256 x 256 pixels. Each
    pair shows an eye with two gazes. One picture is redirected and compared with the other. The
    table has the PSNR in dB (higher is better) and ST-LPIPS (lower is better) of the pixels inside
    the eye opening, for the unchanged source (`copy`) and for the redirected picture. --target and
    --judge have no effect on these pairs.

    SOURCE `synthetic` means clips of three synthetic people whose gaze is known. The gaze after
    redirection is computed from the positions of the irises. These positions are compared with the
    positions of the irises in a picture that is rendered with the target gaze.

    A file for `--labels` has one row per labelled eye. The label is open, down, closed, occluded,
    out or unsure. The output contains the largest strength of the eyes labelled closed, and the
    share of these eyes whose strength is above 0.1. The output also contains the share of eyes with
    the correct class, and the counts per label.

    \b
    Examples:
      mggr-tf natural default call.mp4 photo.jpg
      mggr-tf natural default synthetic --target camera
      mggr-tf natural default synthetic-pairs
      mggr-tf natural bundle call.mp4 --judge runs/judge --target camera --target=-10,0
      mggr-tf natural default call.mp4 --labels call.csv
    """
    from mggr_edge.models.bundle import Bundle
    from mggr_edge.pipeline.targets import parse_target
    from mggr_tf.evaluation.frame_labels import labels_by_clip

    clips = [Path(source) for source in sources if source not in (DRAWN, PAIRS)]
    labels = labels_by_clip(label_files, clips)
    opened = Bundle.open(bundle)
    asked = None if judge is None else _judge(judge, opened)
    aims = {text: parse_target(text) for text in targets}
    rows: list[_Row] = []
    truths: list[TruthScores] = []
    for source in sources:
        if source == PAIRS:
            _refuse_training_people(opened, bundle)
            truths += _compared_with_truth(opened)
        elif source == DRAWN:
            _refuse_training_people(opened, bundle)
            if asked is not None:
                notify(
                    f"the judge does not score `{DRAWN}`, because the gaze of the synthetic "
                    "people is known"
                )
            rows += _drawn(opened, aims)
        else:
            rows += _filmed(Path(source), opened, aims, asked, labels.get(Path(source)))
    if as_json:
        compared = [{"source": PAIRS, **truth.as_json()} for truth in truths]
        click.echo(json.dumps([*(row.as_json() for row in rows), *compared], indent=2))
        return
    if rows:
        click.echo(_table(rows))
        _print_label_scores(rows)
    if truths:
        click.echo(("\n" if rows else "") + _truth_table(truths))


def _print_label_scores(rows: Sequence[_Row]) -> None:
    from mggr_tf.evaluation.label_scores import label_table

    for row in rows:
        if row.labels is not None:
            click.echo(f"\n{row.source}, target {row.target}\n{label_table(row.labels)}")


def _refuse_training_people(bundle: Bundle, name: str) -> None:
    """Check that the bundle was not trained on the people of the synthetic clips.

    Raises:
        UsageError: the bundle was trained on some of these people.
    """
    from mggr_tf.evaluation.clips import DrawnClip
    from mggr_tf.evaluation.ground_truth import subject_names
    from mggr_tf.runs.provenance import some_names, subjects_of_contract

    seen = {*subjects_of_contract(bundle.contract.training)}
    filmed = {DrawnClip(person).name for person in range(_PEOPLE)}
    if known := seen & (filmed | subject_names(_PAIRED_PEOPLE)):
        raise UsageError(
            f"{name} was trained on people of the synthetic clips ({some_names(known)}), so the "
            f"scores for `{DRAWN}` would not be valid; pass videos or pictures instead",
            code="trained-on-clip-people",
            bundle=name,
            subjects=some_names(known),
        )


def _existing(sources: tuple[str, ...]) -> tuple[str, ...]:
    from mggr_edge.common.addresses import redact_credentials

    for source in sources:
        if source not in (DRAWN, PAIRS) and not Path(source).is_file():
            raise click.BadParameter(
                f"{redact_credentials(source)} is not a file (or `{DRAWN}`, `{PAIRS}`)"
            )
    return sources


def _filmed(
    source: Path,
    bundle: Bundle,
    aims: dict[str, Gaze],
    judge: Judge | None,
    labels: FrameLabels | None,
) -> Iterator[_Row]:
    from mggr_edge.media.files.paths import find_source
    from mggr_edge.media.files.pictures import read_whole_picture
    from mggr_tf.evaluation.clips import frames_of
    from mggr_tf.evaluation.label_scores import LabelScorer
    from mggr_tf.evaluation.naturalness import jitter, watch

    for text, target in aims.items():
        notify(f"{source.name}, target {text}")
        scorer = None if labels is None else LabelScorer(labels)
        found = watch(frames_of(source), bundle, target=target, judge=judge, observe=scorer)
        trembling = None
        if find_source(source).kind == "picture":
            try:
                before, after = jitter(read_whole_picture(source).rgb, bundle, target=target)
                trembling = after / before
            except ValueError as error:
                notify(f"{source.name}: jitter cannot be measured: {error}")
        scores = None if scorer is None else scorer.scores()
        yield _Row(source.name, text, found, jitter=trembling, labels=scores)


def _drawn(bundle: Bundle, aims: dict[str, Gaze]) -> Iterator[_Row]:
    from mggr_tf.evaluation.clips import DrawnClip, measure_known_gaze
    from mggr_tf.evaluation.naturalness import watch

    for person in range(_PEOPLE):
        clip = DrawnClip(person)
        for text, target in aims.items():
            notify(f"{DRAWN} {person}, target {text}")
            known = measure_known_gaze(clip, bundle, target=target)
            yield _Row(
                f"{DRAWN} {person}", text, watch(clip.frames(), bundle, target=target), known=known
            )


def _compared_with_truth(bundle: Bundle) -> list[TruthScores]:
    from mggr_edge.common.progress import progress
    from mggr_tf.evaluation.ground_truth import redirect_pair, score_truth, true_pairs

    pairs = list(true_pairs(_PAIRED_PEOPLE))
    return score_truth(
        pairs,
        lambda pair: redirect_pair(pair, bundle),
        lpips=_lpips(),
        progress=progress,
    )


def _lpips() -> Lpips | None:
    """Return ST-LPIPS; `None` if its weights are not installed."""
    from mggr_edge.errors import MissingPackageError
    from mggr_tf.models.stlpips import build_stlpips

    try:
        return build_stlpips("vgg")
    except MissingPackageError as error:
        notify(f"ST-LPIPS is not measured: {error}")
        return None


def _judge(run: Path, bundle: Bundle) -> Judge:
    from mggr_tf.evaluation.clips import judge_of
    from mggr_tf.runs.folder import RunFolder

    return judge_of(RunFolder.open(run), bundle.contract.conventions)


def _table(rows: Sequence[_Row]) -> str:
    form = (
        "{:<16} {:<8} {:>6} {:>6} {:>7} {:>6} {:>6} {:>10} {:>11} {:>11} {:>13} {:>13} {:>6} {:>7} "
        "{:>6}"
    )
    head = ("source", "target", "frames", "eyes", "outside", "border", "pasted")
    lines = [
        form.format(
            *head, "lids", "fully", "pairs", "judge", "known", "steady", "flicker", "jitter"
        )
    ]
    for row in rows:
        found, known = row.found, row.known
        lines.append(
            form.format(
                row.source[:16],
                row.target,
                found.frames,
                found.eyes,
                found.changed_outside,
                _number(found.border_gradient),
                _number(found.pasted_gradient),
                _part(found.lids_kept, found.lids),
                _part(found.near_fully, found.near),
                _part(found.pairs_apart, found.pairs),
                _change(found.judge_before_deg, found.judge_after_deg),
                "-" if known is None else _change(known.before_deg, known.after_deg),
                _number(found.stability.ratio),
                "-" if found.stability.flicker is None else f"{found.stability.flicker:.4f}",
                _number(row.jitter),
            )
        )
    return "\n".join(lines)


def _truth_table(truths: Sequence[TruthScores]) -> str:
    form = "{:<16} {:<18} {:>5} {:>9} {:>8} {:>11} {:>8}"
    head = ("source", "group", "pairs", "copy PSNR", "PSNR", "copy LPIPS", "LPIPS")
    lines = [form.format(*head)]
    for one in truths:
        learned = [
            "-" if value is None else f"{value:.4f}" for value in (one.copy_lpips, one.lpips)
        ]
        lines.append(
            form.format(
                PAIRS,
                one.group,
                one.pairs,
                f"{one.copy_psnr_db:.2f}",
                f"{one.psnr_db:.2f}",
                *learned,
            )
        )
    return "\n".join(lines)


def _change(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{before:.1f} -> {after:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _part(share: float | None, count: int) -> str:
    return "-" if share is None else f"{share:.0%} of {count}"
