"""Runs of `mggr-edge`: files, live sources, calibration and the services around them."""
