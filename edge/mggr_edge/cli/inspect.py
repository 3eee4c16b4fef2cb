"""The command `mggr-edge inspect`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from mggr_edge.common.cli_group import USER_ERROR

if TYPE_CHECKING:
    from mggr_edge.media.files.credentials import Credentials
    from mggr_edge.media.files.inspection import Inspection


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def inspect(files: tuple[str, ...], as_json: bool) -> None:
    """Show the marks of picture and video files: was the file altered, and by which program?

    `mggr-edge run` marks changed files: IPTC digital source type and description in XMP, and a
    comment in videos. With --sign, files also have content credentials (C2PA). Other programs and
    cameras write these marks, too. The package c2pa-python is needed to check content credentials:
    pip install 'mggr-tf[sign]'.

    The exit code is 2 if a file was changed after it was signed. A file without marks can be
    altered, because marks can be removed.

    \b
    Examples:
      mggr-edge inspect me-redirected.jpg
      mggr-edge inspect call.mp4 photo.png --json
    """
    from mggr_edge.media.files.inspection import inspect_file

    found = [inspect_file(file) for file in files]
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2))
    else:
        click.echo("\n\n".join(map(_in_words, found)))
    if any(one.credentials is not None and one.credentials.state == "Invalid" for one in found):
        sys.exit(USER_ERROR)


def _in_words(found: Inspection) -> str:
    source_type = found.mark.source_type.rpartition("/")[2]
    lines = [
        str(found.path),
        f"  digital source type: {source_type or 'none'}",
        f"  description:         {found.mark.description or 'none'}",
        f"  comment:             {found.comment or 'none'}",
    ]
    if found.credentials is not None:
        lines += _credentials_in_words(found.credentials)
    elif found.is_checked:
        lines.append("  content credentials: none")
    else:
        lines.append(
            "  content credentials: not checked, because c2pa-python is not installed; run: "
            "pip install 'mggr-tf[sign]'"
        )
    return "\n".join(lines)


_STATES = {
    "Trusted": "valid; the certificate is trusted",
    "Valid": "valid; the certificate is not in a list of trusted certificates",
    "Invalid": "INVALID; the file was changed after it was signed, or the manifest is damaged",
}


def _credentials_in_words(credentials: Credentials) -> list[str]:
    lines = [f"  content credentials: {_STATES.get(credentials.state, credentials.state)}"]
    rows = {
        "signed by": credentials.signer,
        "made with": credentials.generator,
        "actions": ", ".join(credentials.actions),
        "source types": ", ".join(one.rpartition("/")[2] for one in credentials.source_types),
        "made from": ", ".join(credentials.ingredients),
        "problems": ", ".join(credentials.problems),
    }
    lines += [f"    {name + ':':<19}{text}" for name, text in rows.items() if text]
    return lines
