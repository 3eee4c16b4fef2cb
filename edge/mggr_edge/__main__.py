"""`python -m mggr_edge`, the same as `mggr-edge`."""

from mggr_edge.cli import main

if __name__ == "__main__":
    main(prog_name="mggr-edge")
