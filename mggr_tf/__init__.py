"""Training, evaluation and network models of MGGR, on TensorFlow."""

from mggr_edge.common.version import __version__

__all__ = ["__version__"]
