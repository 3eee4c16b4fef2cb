"""Training, evaluation and models of mggr-tf."""

from mggr_edge.common.version import __version__

__all__ = ["__version__"]
