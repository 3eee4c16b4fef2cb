"""Train, evaluate and build the networks of MGGR with TensorFlow."""

from mggr_edge.common import __version__

__all__ = ["__version__"]
