"""The command `mggr-edge doctor`."""

from __future__ import annotations

import json
import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the results of the checks as JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine's setup and suggest fixes.

    If `mggr-edge run` can process pictures and videos on this machine, the exit code is 0. If a
    required package is missing, the exit code is 1. The following checks do not affect the exit
    code:

    \b
    - landmark models and packaged weights (an exported bundle contains its own models)
    - TensorRT and GStreamer
    - cameras, and processes that use a camera
    - the virtual camera
    - other mggr-edge processes
    - temperature, memory and disk space

    The command opens no camera, changes nothing and does not use the network.

    \b
    Examples:
      mggr-edge doctor
      mggr-edge doctor --json | python -m json.tool
    """
    from mggr_edge.tools.doctor import all_passed, report, run_checks

    checks = run_checks()
    click.echo(json.dumps([c.as_json() for c in checks], indent=2) if as_json else report(checks))
    sys.exit(0 if all_passed(checks) else 1)
