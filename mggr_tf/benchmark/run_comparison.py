"""Two runs side by side, as one page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mggr_edge.common.atomic import atomic_file
from mggr_tf.benchmark.document import Picture, Section, Table, to_html
from mggr_tf.config import config_to_plain
from mggr_tf.config.difference import leaves
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.metrics_log import column, columns

_COLUMNS = 3
_INCHES = (4.2, 2.6)
"""Of one curve."""


def write_comparison(out: Path, runs: tuple[RunFolder, RunFolder], *, force: bool) -> None:
    """Writes a page: what differs in data and config, curves, and the last sample sheets.

    Args:
        out: the `.html` file.
        runs: the two.
        force: an existing file may be replaced.
    """
    names = (str(runs[0].path), str(runs[1].path))
    sections = [
        Section("What differs", (_differences(runs, names),)),
        *(
            Section(f"Stage {stage}", tuple(_of_stage(stage, runs, names)))
            for stage in STAGES
            if any(stage in run.record.stages for run in runs)
        ),
    ]
    with atomic_file(out, force=force) as temporary:
        page = to_html(f"{names[0]} and {names[1]}", sections)
        temporary.write_text(page, encoding="utf-8")


def _differences(runs: tuple[RunFolder, RunFolder], names: tuple[str, str]) -> Table:
    flat = [dict(_facts(run)) for run in runs]
    keys = sorted(flat[0].keys() | flat[1].keys())
    rows = tuple(
        (key, flat[0].get(key, ""), flat[1].get(key, ""))
        for key in keys
        if flat[0].get(key) != flat[1].get(key)
    )
    return Table(("", *names), rows or (("nothing", "", ""),))


def _facts(run: RunFolder) -> Iterator[tuple[str, str]]:
    data = run.record.data
    yield "data", data.source
    yield (
        "donors' data",
        ", ".join(dict.fromkeys(o.data for o in run.record.origins or ())) or "none",
    )
    yield "subjects", f"{len(data.subjects)} ({data.patches} patches)"
    if (portraits := run.record.portraits) is not None:
        yield "portraits", portraits.source
        yield "people in portraits", f"{len(portraits.subjects)} ({portraits.patches} patches)"
    yield from leaves(config_to_plain(run.config), "config")
    for stage, record in run.record.stages.items():
        yield f"{stage}: steps", f"{record.done} of {record.steps}"
        yield f"{stage}: minutes", f"{record.seconds / 60:.1f}"
    for package, version in run.record.versions.items():
        yield f"version of {package}", version


def _of_stage(
    stage: Stage, runs: tuple[RunFolder, RunFolder], names: tuple[str, str]
) -> Iterator[str | Picture]:
    logged = _by_metric([run.log_file(stage) for run in runs])
    validated = _by_metric([run.validation_file(stage) for run in runs])
    if logged:
        yield Picture(_embedded(_curves(logged, names)), "What was logged, by step")
    else:
        yield "Neither has a log of it."
    if validated:
        yield Picture(_embedded(_curves(validated, names)), "What validation found, by step")
    for run, name in zip(runs, names, strict=True):
        sheets = sorted((run.path / "sheets").glob(f"{stage}-*.png"))
        if sheets:
            step = int(sheets[-1].stem.rpartition("-")[2])
            yield Picture(_embedded(sheets[-1].read_bytes()), f"{name} after {step} steps")


def _by_metric(files: Sequence[Path]) -> dict[str, list[dict[int, float]]]:
    """Metric -> of each file, step -> value."""
    metrics = dict.fromkeys(metric for file in files for metric in columns(file))
    return {metric: [column(file, metric) for file in files] for metric in metrics}


def _curves(logged: dict[str, list[dict[int, float]]], names: tuple[str, str]) -> bytes:
    from matplotlib.figure import Figure

    rows = -(-len(logged) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _INCHES[0], rows * _INCHES[1]), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, (metric, both) in zip(grid, logged.items(), strict=False):
        for values, name in zip(both, names, strict=True):
            axes.plot(list(values), list(values.values()), label=name, linewidth=1)
        axes.set_title(metric, fontsize="medium")
    for axes in grid[len(logged) :]:
        axes.set_visible(False)
    grid[0].legend(fontsize="small")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
