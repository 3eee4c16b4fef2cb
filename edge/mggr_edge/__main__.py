"""Entry point of the `mggr-edge` command and of `python -m mggr_edge`."""

from __future__ import annotations

from mggr_edge.cli import main as command
from mggr_edge.common.process import run_program


def main() -> None:
    """Run `mggr-edge` and exit the process."""
    run_program(command, "mggr-edge")


if __name__ == "__main__":
    main()
