"""Separate tools of `mggr-edge`: doctor, studio and bench."""
