"""Entry point of `mggr-edge` and of `python -m mggr_edge`."""

from __future__ import annotations

from mggr_edge.cli import main as cli
from mggr_edge.leaving import exit_if_readers_hang


def main() -> None:
    """Runs the command line, and ends the process with its exit code."""
    try:
        cli(prog_name="mggr-edge")
    except SystemExit as end:
        exit_if_readers_hang(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise


if __name__ == "__main__":
    main()
