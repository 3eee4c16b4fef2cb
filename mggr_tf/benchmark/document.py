"""A report as data, and the two forms in which it is written: Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table of ready strings.

    Attributes:
        head: titles of the columns.
        rows: as many cells each.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A picture beside the report.

    Attributes:
        file: relative to the report.
        caption: what it shows.
    """

    file: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the report: a title, then text, tables and pictures in their order."""

    title: str
    parts: tuple[str | Table | Picture, ...] = field(default=())


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """The report as Markdown."""
    blocks = [f"# {title}"]
    for section in sections:
        blocks.append(f"## {section.title}")
        blocks += [_markdown(part) for part in section.parts]
    return "\n\n".join(blocks) + "\n"


def to_html(title: str, sections: Sequence[Section]) -> str:
    """The report as one page; pictures lie beside it."""
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
