"""Define the `mggr-tf` command.

Each subcommand is an entry point of a package. A subcommand is loaded only when it is used.
"""

from __future__ import annotations

import os
from importlib import metadata

import click

from mggr_edge.common import __version__
from mggr_edge.common.cli_group import MggrGroup

ENTRY_POINTS = "mggr_tf.commands"

# Hide the log messages of TensorFlow's C++ code from users. Errors still raise exceptions in
# Python.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class _LazyCommands(MggrGroup):
    """Finds subcommands through entry points, so that other packages can add subcommands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({point.name for point in metadata.entry_points(group=ENTRY_POINTS)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in metadata.entry_points(group=ENTRY_POINTS):
            if point.name == cmd_name:
                command: click.Command = point.load()
                return command
        return None


@click.group(cls=_LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mggr-tf")
def main() -> None:
    """Train, evaluate and export MGGR, a gaze redirection method for small devices.

    \b
    Start here:
      mggr-tf quickstart                  all steps in a few minutes
      mggr-tf train --stage joint         train, on synthetic eyes by default
      mggr-tf export --int8               bundle the newest run for a device
      mggr-edge run clip.mp4 --model runs/.../bundle-int8
    """
