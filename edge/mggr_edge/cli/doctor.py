"""The command `mggr-edge doctor`."""

from __future__ import annotations

import json
import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine's setup and suggest fixes.

    The exit code is 0 if `mggr-edge run` can process pictures and videos, and 1 if a requirement
    for that is missing. The other checks do not affect the exit code: landmark models and the
    packaged weights (a bundle contains its own models), TensorRT, GStreamer, cameras and the
    processes that hold them, the virtual camera, another mggr-edge, temperature, memory and disk.
    The command opens and changes nothing and does not use the network.

    \b
    Examples:
      mggr-edge doctor
      mggr-edge doctor --json | python -m json.tool
    """
    from mggr_edge.tools.doctor import all_passed, report, run_checks

    checks = run_checks()
    click.echo(json.dumps([c.as_json() for c in checks], indent=2) if as_json else report(checks))
    sys.exit(0 if all_passed(checks) else 1)
