"""Write bundles: model files, the contract, and checksums.

The contract (`contract.json`) describes the models for the device. The same run, data and versions
produce the same bytes. For this reason, the files contain no time stamps and no local folder names.
The files also do not depend on the iteration order of sets.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from tensorflow import keras

from mggr_edge.common import __version__
from mggr_edge.models.bundle_archive import CONTRACT_FILE, SUMS_FILE, checksum_lines
from mggr_edge.models.contract import Artifact, Contract, contract_to_json
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import available_interpreters
from mggr_export.exporting.labels import (
    ENGINE_RECIPE_FILE,
    LANDMARK_LICENCE,
    LICENCES_FILE,
    engine_recipe_text,
    licences_text,
)
from mggr_export.formats import model_format
from mggr_export.formats.model_format import FileFormat
from mggr_export.formats.tflite.graph import read_graph
from mggr_export.proofs.proof import RANGES, Converted, Proof, file_name
from mggr_tf.models.networks import save_weights
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import sources_of, training_of
from mggr_tf.runs.record import Origin

ArtifactPrecision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class BundledModel:
    """One model in one format.

    Attributes:
        converted: Converted file.
        proof: Results of the checks of the file.
        build: Build record, which describes the calibration data and QAT of an int8 file.
    """

    converted: Converted
    proof: Proof
    build: dict[str, Any] = field(default_factory=dict)


def bundle_files(
    run: RunFolder,
    models: Mapping[str, keras.Model],
    converted: Mapping[str, Sequence[BundledModel]],
    *,
    lean: bool = False,
    engine_recipe: bool = False,
    fitted_on: Sequence[Origin] = (),
) -> dict[str, bytes]:
    """Return every file of a bundle, including `contract.json` and `SHA256SUMS`.

    Args:
        run: Run that the models come from.
        models: Keras models by name. The weights of these models are stored as the reference
            weights.
        converted: Model name -> converted files of this model. The preferred format is first.
        lean: Whether to omit the reference weights and the models that find faces and eyes.
        engine_recipe: Whether to add the file with TensorRT build options for the ONNX files.
        fitted_on: Data that QAT (quantization-aware training) used after the run.

    Returns:
        File contents by POSIX path inside the bundle.
    """
    training = training_of(run, further=fitted_on)
    licence = training.licence
    files: dict[str, bytes] = {}
    artifacts: dict[str, tuple[Artifact, ...]] = {}
    references = {}
    for name, formats in converted.items():
        made = [(f"models/{file_name(name, one.converted)}", one) for one in formats]
        files |= {path: one.converted.content for path, one in made}
        artifacts[name] = tuple(
            _exported_networks(path, one, licence=licence) for path, one in made
        )
    for name, source in ({} if lean else find_landmark_models()).items():
        path = f"landmarks/{source.name}"
        files[path] = source.read_bytes()
        precision = _precision(files[path])
        artifacts[name] = (
            _artifact(path, files[path], precision=precision, licence=LANDMARK_LICENCE),
        )
    for name, model in ({} if lean else models).items():
        path = f"reference/{name}.npz"
        files[path] = _weights(model)
        digest = hashlib.sha256(files[path]).hexdigest()
        references[name] = Artifact(path, "keras-weights", "float32", digest, licence=licence)
    contract = Contract(
        models=artifacts,
        references=references,
        training=training,
        conventions=run.config.conventions,
        versions=_versions(),
    )
    if engine_recipe:
        files[ENGINE_RECIPE_FILE] = engine_recipe_text(contract).encode()
    files[LICENCES_FILE] = licences_text(
        [*sources_of(run), *fitted_on],
        complete=run.record.origins_known,
        face_models=not lean,
    ).encode()
    files[CONTRACT_FILE] = contract_to_json(contract).encode()
    return {**files, SUMS_FILE: checksum_lines(files).encode()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a bundle to an empty folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _exported_networks(path: str, one: BundledModel, *, licence: str) -> Artifact:
    file = one.converted
    artifact = _artifact(
        path, file.content, precision=file.precision, licence=licence, file_format=file.format
    )
    proof = one.proof
    return replace(
        artifact, build=one.build, parity=proof.parity, gaze=proof.gaze, opening=proof.opening
    )


def _artifact(
    path: str,
    content: bytes,
    *,
    precision: ArtifactPrecision,
    licence: str,
    file_format: FileFormat = "tflite",
) -> Artifact:
    runner = model_format(file_format).open(content)
    inputs, outputs = (
        tuple(replace(spec, range=RANGES.get(spec.name)) for spec in runner.tensor_specs(kind))
        for kind in ("inputs", "outputs")
    )
    return Artifact(
        file=path,
        format=file_format,
        precision=precision,
        sha256=hashlib.sha256(content).hexdigest(),
        inputs=inputs,
        outputs=outputs,
        licence=licence,
    )


def _precision(content: bytes) -> ArtifactPrecision:
    """Return the precision of a TFLite file that this package did not convert.

    The dtypes of the file's weights determine the precision.
    """
    weights = {tensor.dtype for tensor in read_graph(content).tensors if tensor.constant}
    return "float16" if "float16" in weights else "float32"


def _weights(model: keras.Model) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        save_weights(model, path)
        return path.read_bytes()


def _versions() -> dict[str, str]:
    interpreter, version = next(iter(available_interpreters().items()))
    return {
        "mggr-tf": __version__,
        "python": platform.python_version(),
        "tensorflow": metadata.version("tensorflow"),
        "numpy": metadata.version("numpy"),
        interpreter: version,
    }
