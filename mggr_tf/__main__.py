"""`python -m mggr_tf` is `mggr-tf`."""

from mggr_tf.cli import main

main(prog_name="mggr-tf")
