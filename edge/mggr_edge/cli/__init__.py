"""The command line `mggr-edge`: parse, call one function, print.

Nothing heavy up here: `--help` shall answer at once, and `doctor` on a bare machine.
"""

from __future__ import annotations

import click

from mggr_edge.cli.bench import bench
from mggr_edge.cli.build_engine import build_engine
from mggr_edge.cli.calibrate import calibrate
from mggr_edge.cli.doctor import doctor
from mggr_edge.cli.run import run
from mggr_edge.cli.studio import studio
from mggr_edge.common.cli_group import MggrGroup
from mggr_edge.common.version import __version__


@click.group(cls=MggrGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mggr-edge")
def main() -> None:
    """Redirects gaze on a device: eyes in pictures and videos look where you want.

    \b
    Examples:
      mggr-edge doctor
      mggr-edge run me.jpg
      mggr-edge calibrate /dev/video0
      mggr-edge run /dev/video0 display://0
    """


for _command in (run, studio, calibrate, bench, doctor, build_engine):
    main.add_command(_command)
