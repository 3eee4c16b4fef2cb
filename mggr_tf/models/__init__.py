"""MGGR's networks, one file per part of the paper (arXiv 2004.03064)."""
