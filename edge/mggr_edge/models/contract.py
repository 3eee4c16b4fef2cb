"""The contract of a bundle: its models, their tensors, and the image and angle conventions.

The contract is the file `contract.json`. The export writes this file, and the device reads it. The
contract defines the preprocessing that training used and that the device must repeat (see
`conventions`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from mggr_edge.common.schema import plain, read, read_json
from mggr_edge.errors import BundleError, ConfigError
from mggr_edge.models.conventions import Conventions

SCHEMA = 2
"""Version of the schema.

The version is increased when an older program would interpret a new bundle incorrectly. Since
version 2, a redirector can have the output `alpha`. Older programs would ignore this output.
"""

READABLE_SCHEMAS = (1, 2)
"""Versions that this program reads."""

RunnableFormat = Literal["tflite", "onnx"]
"""Model formats that a device can run."""
Format = Literal[RunnableFormat, "saved_model", "keras-weights"]
"""Formats of the files in a bundle.

SavedModels are for servers, and Keras weights are for `mggr-tf verify`.
"""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output tensor of a model.

    If the tensor is not quantized, `scale` and `zero_point` are `None`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    range: tuple[float, float] | None = None
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Parity:
    """Difference between an output of a converted model and the same output of its Keras model.

    Attributes:
        output: name of the output tensor.
        pairs: number of inputs for which the outputs were compared.
        data: origin of these inputs: synthetic with a seed, or the name of a folder.
        max_abs, mean_abs: maximum and mean absolute difference, in the unit of the tensor.
        psnr_db: PSNR in dB between the two outputs, relative to the range of the tensor. A higher
            value means a smaller difference. `None` means that the outputs are equal.
    """

    output: str
    pairs: int
    data: str
    max_abs: float
    mean_abs: float
    psnr_db: float | None


@dataclass(frozen=True)
class GazeShown:
    """Error of the redirected gaze: the angle between target gaze and gaze after redirection.

    The gaze after redirection is an estimate. The gaze estimator and the redirector are from one
    training run.

    Attributes:
        error_deg: mean error in degrees if the converted model redirects the pictures.
        keras_error_deg: mean error in degrees if its Keras model redirects the pictures.
    """

    error_deg: float
    keras_error_deg: float

    @property
    def extra_deg(self) -> float:
        """Increase of the error by the conversion in degrees; negative if the error decreases."""
        return self.error_deg - self.keras_error_deg


OpeningRegion = Literal["lids", "eyeball disc"]
"""Method that determines the region of the eye opening.

`lids` is the region between the landmarks of the lids. `eyeball disc` is the disc of the eyeball in
the gazemap.
"""


@dataclass(frozen=True)
class OpeningParity:
    """Difference between pictures that a converted model and its Keras model redirect.

    Only pixels inside the eye opening are compared. The eye opening is that of the source picture.

    Attributes:
        region: the method that determined the eye opening.
        share: fraction of the pixels that are inside the eye opening, in [0, 1].
        psnr_db: PSNR in dB between the two pictures, relative to the range [-1, 1]. A higher value
            means a smaller difference. `None` means that the pictures are equal.
    """

    region: OpeningRegion
    share: float
    psnr_db: float | None


@dataclass(frozen=True)
class Artifact:
    """One model file of the bundle.

    A file in the format `keras-weights` cannot be run directly, but a model can be rebuilt from it.

    Attributes:
        file: POSIX path of the file inside the bundle.
        format: format of the file. The format determines the runtime.
        precision: precision of the model's convolutions.
        sha256: SHA-256 checksum of the file in hexadecimal.
        inputs, outputs: specs of the model's tensors.
        licence: licence of the weights.
        build: details of how the file was built.
        parity: measured difference of each output from the Keras model. If there is no Keras model,
            for example for landmark models, the tuple is empty.
        gaze: error of the redirected gaze. It is `None` for models other than the redirector.
        opening: difference from the Keras model inside the eye opening. It is `None` for models
            other than the redirector, and in older bundles, which do not contain this value.
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
    """The training data of the weights, and the licence that follows from this data."""

    data: str
    licence: str
    subjects: tuple[str, ...] = ()
    stages: dict[str, int] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """Content of `contract.json`; see the docstring of the module.

    Attributes:
        models: model name -> its files in all formats of the bundle. The preferred format is first.
        training: origin of the weights.
        conventions: definitions of pixels and angles.
        references: Keras weights. `mggr-tf verify` compares the models with these weights.
        versions: versions of the software that built the bundle.
        schema: version of the schema of `contract.json`.
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
        """Yield every file of the contract: first the models in all formats, then references."""
        for formats in self.models.values():
            yield from formats
        yield from self.references.values()


def contract_to_json(contract: Contract) -> str:
    """Return the text of `contract.json`; equal contracts result in equal texts."""
    return json.dumps(plain(contract), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def contract_from_json(text: str | bytes) -> Contract:
    """Parse the content of `contract.json`.

    Raises:
        BundleError: the text is not valid JSON, or it has another schema version. The error is also
            raised if keys or types do not match the schema.
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
    if schema not in READABLE_SCHEMAS:
        raise BundleError(
            f"contract.json has schema {schema!r}, this version reads "
            f"{' and '.join(map(str, READABLE_SCHEMAS))}; export the bundle again with this "
            "version, or update mggr-tf",
            code="contract-schema-unsupported",
            found=schema,
            expected=READABLE_SCHEMAS,
        )
    try:
        return read(Contract, data)
    except ConfigError as error:
        raise BundleError(
            f"contract.json: {error}", code="contract-invalid", cause=error.code, **error.fields
        ) from error
