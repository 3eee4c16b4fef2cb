"""Errors of exported artifacts."""

from __future__ import annotations

from mggr_edge.errors import MggrError


class ArtifactError(MggrError):
    """Error for a file that a device could load but that does not match its trained model."""
