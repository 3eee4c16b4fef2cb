"""Hooks of the documentation site: pages from outside `docs`, and links to files of the repository.

Some pages are files of the repository, for example ARCHITECTURE.md. A link to such a file becomes a
link to its page. A link to any other file of the repository becomes plain text. If the file of a
link does not exist, the build fails.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "ARCHITECTURE.md": "repository/ARCHITECTURE.md",
    "CHANGELOG.md": "repository/CHANGELOG.md",
    "CONTRIBUTING.md": "repository/CONTRIBUTING.md",
    "SECURITY.md": "repository/SECURITY.md",
    "edge/README.md": "jetson.md",
    "edge/mggr_edge/models/weights/MODEL_CARD.md": "repository/MODEL_CARD.md",
    "mggr_tf/evaluation/labelled_frames/README.md": "repository/labelled_frames.md",
    "README.md": "index.md",
}
"""File of the repository -> page of the site."""

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"(```.*?```)", re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside `docs`."""
    for source, page in PAGES.items():
        if page != "index.md":
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, page, content=text))
    return files


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Fail if a snippet of a file was not included."""
    if "--8<" in html or "--8&lt;" in html:
        raise PluginError(f"{page.file.src_uri}: a snippet was not included; check its line")
    return html


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite the links of a page."""
    inside = {page_: source for source, page_ in PAGES.items() if page_ != "index.md"}
    here = page.file.src_uri
    source = inside.get(here, f"docs/{here}")

    def rewritten(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / found).exists() and here not in files_of_site(files, found):
            raise PluginError(f"{source}: the file of the link {match['target']} does not exist")
        to = PAGES.get(found) or (found[5:] if found.startswith("docs/") else None)
        if to is None or not to.endswith((".md", ".webp", ".png", ".svg", ".jpg")):
            return match["text"]
        way = posixpath.relpath(to, posixpath.dirname(here) or ".")
        return f"[{match['text']}]({way}{'#' + anchor if anchor else ''})"

    parts = _CODE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(rewritten, part) for part in parts)


def files_of_site(files: Files, source: str) -> set[str]:
    """Return the names of generated pages, if a link of the site names one of them."""
    name = source.removeprefix("docs/")
    return {file.src_uri for file in files} if name in PAGES.values() else set()
