"""The contract: what a bundle says about its models and about every pixel.

What training did to a pixel and what the device must do are one document,
`contract.json`, written at export and read on the device. Nothing of it is
retyped on the device side.
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
"""Raised whenever a reader of the former number would misread the bundle."""

RunnableFormat = Literal["tflite", "onnx"]
"""What a device runs."""
Format = Literal[RunnableFormat, "saved_model", "keras-weights"]
"""What may lie in a bundle: SavedModels are for servers, Keras' weights for `verify`."""

_LARGEST_PATCH_PX = 4096
_SMALLEST, _LARGEST = 1e-3, 1e3
"""Of what divides or is divided by: beyond it nothing is left of a picture or an angle."""
_LENGTHS = (
    *("crop_factor", "gazemap_k", "gazemap_edge_px"),
    *("delta_scale_deg", "head_pose_scale_deg", "gaze_scale_deg"),
)


@dataclass(frozen=True)
class Conventions:
    """The numbers that training and device must share.

    Attributes:
        crop_factor: side of the eye's square in enclosing-circle radii.
        patch_size: side of the patch in pixels.
        gazemap_k: eyeball diameter as a share of the gazemap's height.
        gazemap_edge_px: width of the gazemap's soft edges.
        canonical_side: the one eye the networks know; the other is mirrored.
        delta_scale_deg: (pitch, yaw) that a `delta` of 1 stands for.
        head_pose_scale_deg: head angle that a `head_pose` of 1 stands for.
        gaze_scale_deg: (pitch, yaw) that 1 at the estimator's output stands for.
        pitch_positive, yaw_positive, angle_unit, flow, image: the signs and
            units in words, for readers; they have one value each.
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
                # Written so that nan fails too.
                if not _SMALLEST <= one <= _LARGEST:
                    raise ValueError(f"{name} is {value}, expected {_SMALLEST:g} to {_LARGEST:g}")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; `scale` and `zero_point` only where it is quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    range: tuple[float, float] | None = None
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Parity:
    """What one output of an artifact differs by from its Keras source.

    Attributes:
        output: name of the tensor.
        pairs: how many inputs were compared.
        data: which inputs (synthetic with a seed, or a folder's name).
        max_abs, mean_abs: differences in the tensor's own unit.
        psnr_db: of the tensor against Keras over its range; null when equal.
    """

    output: str
    pairs: int
    data: str
    max_abs: float
    mean_abs: float
    psnr_db: float | None


@dataclass(frozen=True)
class GazeShown:
    """How far from its target the gaze in redirected pictures is, as the run's estimator sees it.

    Attributes:
        error_deg: mean angle in the artifact's pictures.
        keras_error_deg: the same in those of its Keras source.
    """

    error_deg: float
    keras_error_deg: float

    @property
    def extra_deg(self) -> float:
        """What the conversion costs; negative where it happens to gain."""
        return self.error_deg - self.keras_error_deg


OpeningRegion = Literal["lids", "eyeball disc"]
"""The pixels that count as the eye opening: between the lids' landmarks, or the gazemap's disc."""


@dataclass(frozen=True)
class OpeningParity:
    """Difference of redirected pictures from Keras' inside the eye opening of the source.

    Attributes:
        region: how the opening was found.
        share: part of the compared pixels that lies inside, [0, 1].
        psnr_db: over the range [-1, 1]; null when equal.
    """

    region: OpeningRegion
    share: float
    psnr_db: float | None


@dataclass(frozen=True)
class Artifact:
    """One file of the bundle that can be run (or, for `keras-weights`, rebuilt).

    Attributes:
        file: posix path inside the bundle.
        format: what it takes to run it.
        precision: of its convolutions.
        sha256: of its bytes.
        inputs, outputs: its tensors, by name.
        licence: what its weights allow.
        build: how it was made.
        parity: what each output was found to differ by from Keras; empty where there
            is no Keras model, as of the landmark models.
        gaze: of a redirector, where its pictures look.
        opening: of a redirector, its pictures inside the eye opening; null in bundles that were
            written before it was measured.
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
    """Where the weights come from, and what that allows."""

    data: str
    licence: str
    subjects: tuple[str, ...] = ()
    stages: dict[str, int] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """Everything a device must know; see the module's docstring.

    Attributes:
        models: each in every format that the bundle holds, the preferred one first.
        training: where the weights come from.
        conventions: what a pixel and an angle are.
        references: Keras' own weights, to prove the models against.
        versions: of what built the bundle.
        schema: of this document.
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
        """Every file that is named, models in all formats first."""
        for formats in self.models.values():
            yield from formats
        yield from self.references.values()


def contract_to_json(contract: Contract) -> str:
    """The contract as it stands in `contract.json`; equal contracts give equal text."""
    return json.dumps(plain(contract), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def contract_from_json(text: str | bytes) -> Contract:
    """Reads `contract.json`.

    Raises:
        BundleError: not JSON, another schema number, or keys and types that do not fit.
    """
    try:
        data = read_json(text.decode("utf-8") if isinstance(text, bytes) else text)
    except ValueError as error:
        raise BundleError(f"contract.json is not JSON: {error}") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise BundleError(
            f"contract.json has schema {schema!r}, this version reads {SCHEMA}; "
            "export the bundle again with this version, or update mggr-tf"
        )
    try:
        return read(Contract, data)
    except ConfigError as error:
        raise BundleError(f"contract.json: {error}") from error
