"""Entry point of `mggr-edge` and of `python -m mggr_edge`."""

from __future__ import annotations

from mggr_edge.cli import main as command
from mggr_edge.common.process import run_program


def main() -> None:
    """Runs `mggr-edge` and ends the process."""
    run_program(command, "mggr-edge")


if __name__ == "__main__":
    main()
