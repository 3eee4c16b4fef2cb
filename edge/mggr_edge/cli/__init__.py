"""Command line `mggr-edge`: parse the arguments, call one function and print the result.

Each command imports large modules only when it runs. Therefore `--help` responds quickly, and
`doctor` runs on a machine without the dependencies.
"""

from __future__ import annotations

import click

from mggr_edge.cli.bench import bench
from mggr_edge.cli.build_engine import build_engine
from mggr_edge.cli.calibrate import calibrate
from mggr_edge.cli.cameras import cameras
from mggr_edge.cli.doctor import doctor
from mggr_edge.cli.inspect import inspect
from mggr_edge.cli.run import run
from mggr_edge.cli.service import service
from mggr_edge.cli.setup import setup
from mggr_edge.cli.studio import studio
from mggr_edge.common import __version__
from mggr_edge.common.cli_group import MggrGroup


@click.group(cls=MggrGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mggr-edge")
def main() -> None:
    """Redirect gaze: change the direction in which the eyes in pictures and videos look.

    \b
    Examples:
      mggr-edge setup
      mggr-edge run me.jpg
      mggr-edge calibrate /dev/video0
      mggr-edge run /dev/video0 display://0
    """


_COMMANDS = (
    setup,
    run,
    service,
    inspect,
    studio,
    cameras,
    calibrate,
    bench,
    doctor,
    build_engine,
)

for _command in _COMMANDS:
    main.add_command(_command)
