"""The contract of a bundle: its models, their tensors, and the image and angle conventions.

The contract is the file `contract.json`. The export writes it, and the device reads it. It defines
the preprocessing that training used and that the device must repeat, so the device code has no
copy of these numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from mggr_edge.common.schema import plain, read, read_json
from mggr_edge.errors import BundleError, ConfigError
from mggr_edge.geometry.angles import Side
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR, DEFAULT_SIZE_PX
from mggr_edge.geometry.gaze_map import DEFAULT_EDGE_PX, DEFAULT_K

SCHEMA = 1
"""Version of the schema, increased whenever an older reader would misread a new bundle."""

RunnableFormat = Literal["tflite", "onnx"]
"""Model formats that a device can run."""
Format = Literal[RunnableFormat, "saved_model", "keras-weights"]
"""Formats of the files in a bundle.

SavedModels are for servers, and Keras weights are for `mggr-tf verify`.
"""

_LARGEST_PATCH_PX = 4096
_SMALLEST, _LARGEST = 1e-3, 1e3
"""Limits of the values that are used as factors or divisors.

Values outside these limits would make a picture or an angle unusable.
"""
_LENGTHS = (
    *("crop_factor", "gazemap_k", "gazemap_edge_px"),
    *("delta_scale_deg", "head_pose_scale_deg", "gaze_scale_deg"),
)


@dataclass(frozen=True)
class Conventions:
    """The numbers that training and the device must share.

    Attributes:
        crop_factor: side of the eye crop in radii of the eye's enclosing circle.
        patch_size: side of the patch in pixels.
        gazemap_k: eyeball diameter as a fraction of the gazemap's height.
        gazemap_edge_px: width of the gazemap's soft edges in pixels.
        canonical_side: the side of the face that the networks were trained on; patches of the
            other side are mirrored.
        delta_scale_deg: (pitch, yaw) in degrees that correspond to a value of 1 in `delta`.
        head_pose_scale_deg: head angle in degrees that corresponds to a value of 1 in `head_pose`.
        gaze_scale_deg: (pitch, yaw) in degrees that correspond to a value of 1 in the estimator's
            output.
        pitch_positive, yaw_positive, angle_unit, flow, image: signs and units in words, for human
            readers. Each has only one valid value.
    """

    crop_factor: float = DEFAULT_CROP_FACTOR
    patch_size: int = DEFAULT_SIZE_PX
    gazemap_k: float = DEFAULT_K
    gazemap_edge_px: float = DEFAULT_EDGE_PX
    canonical_side: Side = "right"
    delta_scale_deg: tuple[float, float] = (10.0, 15.0)
    head_pose_scale_deg: float = 30.0
    gaze_scale_deg: tuple[float, float] = (10.0, 15.0)
    pitch_positive: Literal["up"] = "up"
    yaw_positive: Literal["image right"] = "image right"
    angle_unit: Literal["degree"] = "degree"
    flow: Literal["backward (dx, dy) in patch pixels"] = "backward (dx, dy) in patch pixels"
    image: Literal["RGB in [-1, 1]"] = "RGB in [-1, 1]"

    def __post_init__(self) -> None:
        if not 1 <= self.patch_size <= _LARGEST_PATCH_PX:
            raise ValueError(
                f"patch_size is {self.patch_size} pixels, expected 1 to {_LARGEST_PATCH_PX}"
            )
        for name in _LENGTHS:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                # `not a <= b <= c` also rejects NaN.
                if not _SMALLEST <= one <= _LARGEST:
                    raise ValueError(f"{name} is {value}, expected {_SMALLEST:g} to {_LARGEST:g}")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output tensor of a model.

    `scale` and `zero_point` are None unless the tensor is quantized.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    range: tuple[float, float] | None = None
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Parity:
    """Difference between one output of an artifact and the same output of its Keras source.

    Attributes:
        output: name of the output tensor.
        pairs: number of inputs that were compared.
        data: the inputs that were compared: synthetic with a seed, or the name of a folder.
        max_abs, mean_abs: maximum and mean absolute difference in the tensor's own unit.
        psnr_db: PSNR in dB of the tensor against Keras, over the tensor's range; null if both are
            equal.
    """

    output: str
    pairs: int
    data: str
    max_abs: float
    mean_abs: float
    psnr_db: float | None


@dataclass(frozen=True)
class GazeShown:
    """Angle between the target gaze and the gaze that the run's estimator finds after redirection.

    Attributes:
        error_deg: mean angle in degrees for the pictures that the artifact redirected.
        keras_error_deg: mean angle in degrees for the pictures that its Keras source redirected.
    """

    error_deg: float
    keras_error_deg: float

    @property
    def extra_deg(self) -> float:
        """Increase of the error by the conversion, in degrees; negative if the error decreases."""
        return self.error_deg - self.keras_error_deg


OpeningRegion = Literal["lids", "eyeball disc"]
"""Region of the eye opening: between the lids' landmarks, or the eyeball disc of the gazemap."""


@dataclass(frozen=True)
class OpeningParity:
    """Difference between redirected pictures of an artifact and of Keras inside the eye opening.

    The eye opening is that of the source picture.

    Attributes:
        region: the method that determined the eye opening.
        share: fraction of the compared pixels that is inside the opening, in [0, 1].
        psnr_db: PSNR in dB over the range [-1, 1]; null if the pictures are equal.
    """

    region: OpeningRegion
    share: float
    psnr_db: float | None


@dataclass(frozen=True)
class Artifact:
    """One model file of the bundle.

    A file in the format `keras-weights` cannot be run directly; its model can be rebuilt.

    Attributes:
        file: POSIX path of the file inside the bundle.
        format: format of the file, which determines the runtime.
        precision: precision of the model's convolutions.
        sha256: SHA-256 checksum of the file in hexadecimal.
        inputs, outputs: specs of the model's tensors.
        licence: licence of the weights.
        build: details of how the file was built.
        parity: measured difference of each output from Keras; empty if there is no Keras model,
            as for the landmark models.
        gaze: error of the redirected gaze, only for a redirector.
        opening: difference from Keras inside the eye opening, only for a redirector; null in
            bundles that were written before this was measured.
    """

    file: str
    format: Format
    precision: Literal["float32", "float16", "int8"]
    sha256: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    licence: str = "Apache-2.0"
    build: dict[str, Any] = field(default_factory=dict)
    parity: tuple[Parity, ...] = ()
    gaze: GazeShown | None = None
    opening: OpeningParity | None = None


@dataclass(frozen=True)
class Training:
    """The origin of the weights, and the licence that follows from it."""

    data: str
    licence: str
    subjects: tuple[str, ...] = ()
    stages: dict[str, int] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """Content of `contract.json`; see the docstring of the module.

    Attributes:
        models: model name -> its files in all formats of the bundle, the preferred format first.
        training: origin of the weights.
        conventions: definitions of pixels and angles.
        references: Keras weights, against which `mggr-tf verify` checks the models.
        versions: versions of the software that built the bundle.
        schema: version of the schema of this document.
    """

    models: dict[str, tuple[Artifact, ...]]
    training: Training
    conventions: Conventions = field(default_factory=Conventions)
    references: dict[str, Artifact] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for name, formats in self.models.items():
            if not formats:
                raise ValueError(f"the model {name!r} has no file in any format")

    def artifacts(self) -> Iterator[Artifact]:
        """Yield every file of the contract: models in all formats, then references."""
        for formats in self.models.values():
            yield from formats
        yield from self.references.values()


def contract_to_json(contract: Contract) -> str:
    """Return the text of `contract.json`; equal contracts have equal text."""
    return json.dumps(plain(contract), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def contract_from_json(text: str | bytes) -> Contract:
    """Parse the content of `contract.json`.

    Raises:
        BundleError: the text is not valid JSON, has another schema version, or has keys or types
            that do not match the schema.
    """
    try:
        data = read_json(text.decode("utf-8") if isinstance(text, bytes) else text)
    except ValueError as error:
        raise BundleError(
            f"contract.json is not valid JSON: {error}",
            code="contract-not-json",
            reason=str(error),
        ) from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise BundleError(
            f"contract.json has schema {schema!r}, this version reads {SCHEMA}; "
            "export the bundle again with this version, or update mggr-tf",
            code="contract-schema-unsupported",
            found=schema,
            expected=SCHEMA,
        )
    try:
        return read(Contract, data)
    except ConfigError as error:
        raise BundleError(
            f"contract.json: {error}", code="contract-invalid", cause=error.code, **error.fields
        ) from error
