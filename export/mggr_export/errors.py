"""What an exported artifact can be guilty of."""

from __future__ import annotations

from mggr_edge.errors import MggrError


class ArtifactError(MggrError):
    """An artifact that a device could load, and that is not the model that was trained."""
