"""The version of mggr-tf, defined only here."""

__version__ = "0.1.0"
