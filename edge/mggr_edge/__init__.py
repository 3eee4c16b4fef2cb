"""Device code of mggr-tf: it detects eyes, redirects their gaze, and writes them into the frame.

The package needs numpy, OpenCV and one TFLite interpreter. It never imports TensorFlow.
"""

from typing import TYPE_CHECKING, Any

from mggr_edge.common import __version__

if TYPE_CHECKING:
    from mggr_edge.errors import MggrError
    from mggr_edge.geometry.angles import Gaze
    from mggr_edge.models.bundle import Bundle
    from mggr_edge.pipeline.redirector import Redirector

_PUBLIC = {
    "Bundle": "mggr_edge.models.bundle",
    "Gaze": "mggr_edge.geometry.angles",
    "MggrError": "mggr_edge.errors",
    "Redirector": "mggr_edge.pipeline.redirector",
}

__all__ = ["Bundle", "Gaze", "MggrError", "Redirector", "__version__"]


def __getattr__(name: str) -> Any:
    # Import on first use, so that `mggr-edge --help` and `doctor` work without OpenCV.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mggr_edge' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
