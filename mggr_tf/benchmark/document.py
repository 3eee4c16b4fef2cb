"""Define the parts of a report, write reports as Markdown and HTML, and compare two runs."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mggr_edge.common.atomic import atomic_file
from mggr_tf.config import config_to_plain
from mggr_tf.config.files import leaves
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.metrics_log import column, columns


@dataclass(frozen=True)
class Table:
    """A table of formatted strings.

    Attributes:
        head: titles of the columns.
        rows: rows with one cell for each column.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A picture file that a report shows.

    Attributes:
        file: path of the picture file relative to the report, or a data URL.
        caption: text below the picture.
    """

    file: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        title: heading of the section.
        parts: paragraphs, tables and pictures, in the order of the report.
    """

    title: str
    parts: tuple[str | Table | Picture, ...] = field(default=())


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the report as Markdown."""
    blocks = [f"# {title}"]
    for section in sections:
        blocks.append(f"## {section.title}")
        blocks += [_markdown(part) for part in section.parts]
    return "\n\n".join(blocks) + "\n"


def to_html(title: str, sections: Sequence[Section]) -> str:
    """Return the report as one HTML page.

    The page refers to the picture files.
    """
    body = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [_html(part) for part in section.parts]
    return _PAGE.format(title=html.escape(title), body="\n".join(body))


def _markdown(part: str | Table | Picture) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Picture):
        return f"![{part.caption}]({part.file})\n\n{part.caption}"
    rule = "|" + "---|" * len(part.head)
    lines = [_row(part.head), rule, *(_row(row) for row in part.rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html(part: str | Table | Picture) -> str:
    if isinstance(part, str):
        return f"<p>{html.escape(part)}</p>"
    if isinstance(part, Picture):
        file, caption = html.escape(part.file), html.escape(part.caption)
        return (
            f'<figure><img src="{file}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        )
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in part.head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in part.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
    return f'<div class="wide">{table}</div>'


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{
    font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  }}
  .wide {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
  th, td {{
    padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap;
  }}
  th:first-child, td:first-child {{ text-align: left; }}
  img {{ max-width: 100%; height: auto; }}
  figure {{ margin: 1.5rem 0; }}
  figcaption {{ font-size: .9em; opacity: .8; }}
</style>
<body>
{body}
</body>
</html>
"""


_COLUMNS = 3
_INCHES = (4.2, 2.6)
"""Width and height of one plot, in inches."""


def write_comparison(out: Path, runs: tuple[RunFolder, RunFolder], *, force: bool) -> None:
    """Write an HTML page that compares two runs.

    The page lists the differences in data and config. For every stage, the page shows the logged
    curves and the last sample sheet. A sample sheet is a picture of redirected eyes that training
    saves.

    Args:
        out: `.html` file to write.
        runs: the two runs.
        force: whether an existing file is replaced.

    Raises:
        OutputExistsError: `out` exists and `force` is false.
    """
    names = (str(runs[0].path), str(runs[1].path))
    sections = [
        Section("Differences", (_differences(runs, names),)),
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
    return Table(("", *names), rows or (("no differences", "", ""),))


def _facts(run: RunFolder) -> Iterator[tuple[str, str]]:
    data = run.record.data
    yield "data", data.source
    yield (
        "training data of the runs of --from",
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
        yield Picture(_embedded(_curves(logged, names)), "Logged values by step")
    else:
        yield "Neither run has a log of this stage."
    if validated:
        yield Picture(_embedded(_curves(validated, names)), "Validation by step")
    for run, name in zip(runs, names, strict=True):
        sheets = sorted((run.path / "sheets").glob(f"{stage}-*.png"))
        if sheets:
            step = int(sheets[-1].stem.rpartition("-")[2])
            yield Picture(_embedded(sheets[-1].read_bytes()), f"{name} after {step} steps")


def _by_metric(files: Sequence[Path]) -> dict[str, list[dict[int, float]]]:
    """Return the logged values of each metric in each file.

    The keys of the result are the metrics. Each value is a list with one dict per file. This dict
    maps a step to the logged value.
    """
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
