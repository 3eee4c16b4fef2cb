"""Utilities for files, processes, addresses and progress that the other packages share."""
