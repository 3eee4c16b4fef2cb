"""The one place that knows the version of mggr-tf."""

__version__ = "0.1.0"
