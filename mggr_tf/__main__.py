"""Entry point of `mggr-tf` and of `python -m mggr_tf`."""

from __future__ import annotations

from mggr_edge.common.process import run_program
from mggr_tf.cli import main as command


def main() -> None:
    """Run `mggr-tf` and exit the process."""
    run_program(command, "mggr-tf")


if __name__ == "__main__":
    main()
