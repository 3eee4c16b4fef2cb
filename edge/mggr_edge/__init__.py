"""Device code of mggr-tf: it detects eyes, redirects their gaze, and writes them into the frame.

The package needs numpy, OpenCV and one runtime for the models. It never imports TensorFlow.

All names below are stable. The modules that contain them may change.
"""

from typing import TYPE_CHECKING, Any

from mggr_edge.common import __version__

if TYPE_CHECKING:
    from mggr_edge.errors import (
        ArtifactError,
        BundleError,
        ConfigError,
        DataError,
        DiskError,
        EngineError,
        MggrError,
        MissingPackageError,
        OutputExistsError,
        RunError,
        StreamError,
        UsageError,
    )
    from mggr_edge.geometry.angles import Gaze
    from mggr_edge.media.live.address import CameraFormat
    from mggr_edge.models.bundle import Bundle
    from mggr_edge.models.network_io import EyeState
    from mggr_edge.pipeline.frame_formats import Color
    from mggr_edge.pipeline.gating import Limits
    from mggr_edge.pipeline.gaze_correction import GazeCorrection
    from mggr_edge.pipeline.redirector import Redirector
    from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
    from mggr_edge.runs.streams import FrameSink, FrameSource, SourceFrame, open_sink, open_source

_PUBLIC = {
    "Bundle": "mggr_edge.models.bundle",
    "CameraFormat": "mggr_edge.media.live.address",
    "Color": "mggr_edge.pipeline.frame_formats",
    "EyeState": "mggr_edge.models.network_io",
    "Gaze": "mggr_edge.geometry.angles",
    "GazeCorrection": "mggr_edge.pipeline.gaze_correction",
    "Limits": "mggr_edge.pipeline.gating",
    "Redirector": "mggr_edge.pipeline.redirector",
    **dict.fromkeys(("EyeResult", "FaceResult", "FrameResult"), "mggr_edge.pipeline.results"),
    **dict.fromkeys(
        ("FrameSink", "FrameSource", "SourceFrame", "open_sink", "open_source"),
        "mggr_edge.runs.streams",
    ),
    **dict.fromkeys(
        (
            *("ArtifactError", "BundleError", "ConfigError", "DataError", "DiskError"),
            *("EngineError", "MggrError", "MissingPackageError", "OutputExistsError", "RunError"),
            *("StreamError", "UsageError"),
        ),
        "mggr_edge.errors",
    ),
}
"""Public name -> module that contains it."""

__all__ = [
    "ArtifactError",
    "Bundle",
    "BundleError",
    "CameraFormat",
    "Color",
    "ConfigError",
    "DataError",
    "DiskError",
    "EngineError",
    "EyeResult",
    "EyeState",
    "FaceResult",
    "FrameResult",
    "FrameSink",
    "FrameSource",
    "Gaze",
    "GazeCorrection",
    "Limits",
    "MggrError",
    "MissingPackageError",
    "OutputExistsError",
    "Redirector",
    "RunError",
    "SourceFrame",
    "StreamError",
    "UsageError",
    "__version__",
    "open_sink",
    "open_source",
]


def __getattr__(name: str) -> Any:
    # Import on first use, so that `mggr-edge --help` and `doctor` work without OpenCV.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mggr_edge' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
