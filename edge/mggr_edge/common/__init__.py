"""Utilities for files, processes, addresses and progress that the other packages share."""

__version__ = "0.1.0"
"""Version of mggr-tf. It is defined only here."""
