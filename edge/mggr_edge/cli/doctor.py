"""`mggr-edge doctor`."""

from __future__ import annotations

import json
import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine's setup and suggest fixes.

    Exits with 0 when `mggr-edge run` can work on pictures and videos, with 1
    when something that it needs is missing. All else is reported and not needed
    for that: landmark models and the package's own weights (a bundle brings its
    own models), TensorRT, GStreamer, cameras and who holds them, the virtual
    camera, another mggr-edge, heat, memory, disk. It looks only: nothing is
    opened or changed, and no network is used.

    \b
    Examples:
      mggr-edge doctor
      mggr-edge doctor --json | python -m json.tool
    """
    from mggr_edge.tools.doctor import all_passed, report, run_checks

    checks = run_checks()
    click.echo(json.dumps([c.as_json() for c in checks], indent=2) if as_json else report(checks))
    sys.exit(0 if all_passed(checks) else 1)
