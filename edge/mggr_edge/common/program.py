"""Runs a command line as the program of this process."""

from __future__ import annotations

import click

from mggr_edge.common.leaving import exit_if_readers_hang
from mggr_edge.common.standard_streams import checked_stdout, open_closed_streams
from mggr_edge.common.termination import ended_by_signals


def run_program(command: click.Command, name: str) -> None:
    """Runs a command with the arguments of this process, and ends the process.

    Only entry points call this function: it replaces closed standard streams, handles SIGTERM and
    SIGHUP, and may end the process at once. A host that runs a command in its own process calls
    `command.main`, which does none of it.

    Args:
        command: the command or group.
        name: of the program, for its help.
    """
    open_closed_streams()
    try:
        with ended_by_signals(), checked_stdout():
            command.main(prog_name=name)
    except SystemExit as end:
        exit_if_readers_hang(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise
