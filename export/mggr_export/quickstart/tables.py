"""The numbers of the report, as rows of HTML tables."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from mggr_export.quickstart.demo import Demo
from mggr_export.quickstart.observe import Following, Line
from mggr_export.quickstart.outcome import Outcome, losses_of
from mggr_tf.config.stages import STAGES


def tiles(demo: Demo) -> str:
    """The four numbers that matter, as `<div>`s of a `<dl>`."""
    stray = demo.stray_pixels
    verdict = (
        '<span class="good">none</span>' if stray == 0 else f'<span class="bad">{stray}</span>'
    )
    facts = (
        ("yaw, by the iris model", number(demo.iris.yaw.slope), "slope"),
        ("pitch, by the iris model", number(demo.iris.pitch.slope), "slope"),
        ("frames with both eyes fully redirected", str(demo.fully_redirected), f"of {demo.frames}"),
        (f"pixels changed outside the eyes' masks, all {demo.frames} frames", verdict, ""),
    )
    return "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{unit}</small></dd></div>"
        for name, value, unit in facts
    )


def following_rows(outcome: Outcome) -> str:
    """Witness and axis by line."""
    witnesses: list[tuple[str, Following]] = [
        ("iris model", outcome.demo.iris),
        ("run’s own estimator", outcome.demo.own),
    ]
    if outcome.first is not None:
        witnesses.insert(0, ("iris model, before this training", outcome.first))
    return "".join(
        _row([name, axis], _line_cells(line))
        for name, seen in witnesses
        for axis, line in (("yaw", seen.yaw), ("pitch", seen.pitch))
    )


def _line_cells(line: Line) -> list[str]:
    return [
        number(line.slope),
        number(line.offset_deg, digits=1, sign=True) + "°",
        number(line.correlation),
    ]


def stage_rows(outcome: Outcome) -> str:
    """Steps, time and losses of each stage."""
    rows = []
    stages = outcome.run.record.stages
    for name in (name for name in STAGES if name in stages):
        stage = stages[name]
        if not outcome.run.logged(name, "loss"):
            continue  # the package's own
        losses = losses_of(outcome.run, name)
        rows.append(
            _row(
                [name],
                [
                    str(stage.done),
                    f"{stage.seconds:.0f}",
                    number(losses.first, digits=4),
                    number(losses.last, digits=4),
                ],
            )
        )
    return "".join(rows)


def bundle_rows(outcome: Outcome) -> str:
    """Size and speed of each bundle."""
    return "".join(
        _row(
            [outcome.bundle_path(precision).name],
            [
                f"{outcome.bundle_megabytes(precision):.1f} MB",
                f"{timing.median_ms:.1f} ms",
                f"{timing.most_ms:.1f} ms",
            ],
        )
        for precision, timing in outcome.demo.timings.items()
    )


def parity_rows(outcome: Outcome) -> str:
    """Differences from Keras, by bundle, model and output."""
    return "".join(
        _row(
            [outcome.bundle_path(precision).name, model, parity.output],
            [
                f"{parity.max_abs:.2g}",
                f"{parity.mean_abs:.2g}",
                "equal" if parity.psnr_db is None else f"{parity.psnr_db:.1f} dB",
            ],
        )
        for precision, bundle in outcome.bundles.items()
        for model, formats in sorted(bundle.contract.models.items())
        for artifact in formats
        for parity in artifact.parity
    )


def time_rows(outcome: Outcome) -> str:
    """Where the time went."""
    seconds = {**outcome.seconds, "all of it": sum(outcome.seconds.values())}
    return "".join(_row([name], [f"{spent:.0f} s"]) for name, spent in seconds.items())


def _row(words: Iterable[str], figures: Iterable[str]) -> str:
    first, *rest = words
    cells = [f'<th scope="row">{escape(first)}</th>']
    cells += [f"<td>{escape(word)}</td>" for word in rest]
    cells += [f'<td class="n">{escape(figure)}</td>' for figure in figures]
    return f"<tr>{''.join(cells)}</tr>"


def number(value: float, *, digits: int = 2, sign: bool = False) -> str:
    """A rounded number with a real minus, and never a "-0.0"."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if sign else ''}.{digits}f}".replace("-", "−")
