"""`mggr-tf natural`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_tf.cli.options import say

if TYPE_CHECKING:
    from mggr_edge.bench.naturalness import Judge, Naturalness
    from mggr_edge.bundle import Bundle


@click.command()
@click.argument("bundle")
@click.argument(
    "sources",
    metavar="SOURCE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("camera",),
    show_default=True,
    metavar="camera|PITCH,YAW",
    help="Where eyes shall look; may be repeated.",
)
@click.option(
    "--judge",
    type=click.Path(path_type=Path),
    help="A run whose stage `judge` is complete, of people who are not in SOURCE.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def natural(
    bundle: str,
    sources: tuple[Path, ...],
    targets: tuple[str, ...],
    judge: Path | None,
    as_json: bool,
) -> None:
    """Count what makes a redirected clip or picture look natural, before it is encoded.

    `outside`: pixels outside the masks that changed. `border`: the gradient along the masks'
    borders over the input's, 95th percentile; `pasted`: the same of a small square picture pasted
    with hard edges, as a control. `lids`: eyes that are nearly or quite closed, and how many of
    them are as open after as before. `fully`: of open eyes of frontal heads within 20 degrees of
    the target, how many get the full strength; `judge`: how far off the target they look to it,
    before and after. `jitter`, of pictures: how much more irises tremble than in the input, as a
    camera's noise makes them.

    \b
    Examples:
      mggr-tf natural default call.mp4 photo.jpg
      mggr-tf natural bundle call.mp4 --judge runs/judge --target camera --target=-10,0
    """
    from mggr_edge.aiming.target import parse_target
    from mggr_edge.bench.naturalness import jitter, watch
    from mggr_edge.bundle import Bundle
    from mggr_edge.streams.paths import find_source
    from mggr_edge.streams.pictures import read_picture
    from mggr_tf.evaluation.clips import frames_of

    opened = Bundle.open(bundle)
    asked = None if judge is None else _judge(judge, opened)
    rows: list[tuple[str, str, Naturalness, float | None]] = []
    for source in sources:
        for text in targets:
            say(f"{source.name}, target {text}")
            target = parse_target(text)
            found = watch(frames_of(source), opened, target=target, judge=asked)
            trembling = None
            if find_source(source).kind == "picture":
                try:
                    before, after = jitter(read_picture(source).rgb, opened, target=target)
                    trembling = after / before
                except ValueError as error:
                    say(f"{source.name}: no jitter: {error}")
            rows.append((source.name, text, found, trembling))
    if as_json:
        facts = [
            {"source": name, "target": text, **found.as_json(), "jitter": trembling}
            for name, text, found, trembling in rows
        ]
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(_table(rows))


def _judge(run: Path, bundle: Bundle) -> Judge:
    from mggr_tf.evaluation.clips import judge_of
    from mggr_tf.training.run_folder import RunFolder

    return judge_of(RunFolder.open(run), bundle.contract.conventions)


def _table(rows: Sequence[tuple[str, str, Naturalness, float | None]]) -> str:
    form = "{:<16} {:<8} {:>6} {:>6} {:>7} {:>6} {:>6} {:>10} {:>11} {:>13} {:>6}"
    head = ("source", "target", "frames", "eyes", "outside", "border", "pasted")
    lines = [form.format(*head, "lids", "fully", "judge", "jitter")]
    for name, text, found, trembling in rows:
        seen = (found.judge_before_deg, found.judge_after_deg)
        lines.append(
            form.format(
                name[:16],
                text,
                found.frames,
                found.eyes,
                found.changed_outside,
                _number(found.border_gradient),
                _number(found.pasted_gradient),
                _part(found.lids_kept, found.lids),
                _part(found.near_fully, found.near),
                "-" if seen[0] is None or seen[1] is None else f"{seen[0]:.1f} -> {seen[1]:.1f}",
                _number(trembling),
            )
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _part(share: float | None, count: int) -> str:
    return "-" if share is None else f"{share:.0%} of {count}"
