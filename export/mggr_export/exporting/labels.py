"""Texts in a bundle: labels of model files, licences, and TensorRT build options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mggr_edge.common import __version__
from mggr_edge.common.schema import plain
from mggr_edge.models.contract import Artifact, Contract
from mggr_edge.models.installed import WHEEL
from mggr_edge.models.tensorrt.build_options import OLDEST, TYPED_BY_GRAPH, dotted, recipe_for
from mggr_edge.models.tensorrt.trtexec_builder import precision_arguments
from mggr_export.formats import model_format
from mggr_export.formats.model_format import FileFormat
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import training_of
from mggr_tf.runs.record import UNKNOWN_DONORS, Origin

LABEL = "mggr"
"""Key under which a file's metadata contains the label."""


def label_of(run: RunFolder, model: str, *, fitted_on: Sequence[Origin] = ()) -> str:
    """Return the label of a model as JSON text.

    The label contains the name of the model, the conventions for pixels and angles, and the
    licence.

    Args:
        run: Run that the model comes from.
        model: Name of the model.
        fitted_on: Data that QAT (quantization-aware training) used after the run.
    """
    facts = {
        "model": model,
        "mggr-tf": __version__,
        "conventions": plain(run.config.conventions),
        "licence": training_of(run, further=fitted_on).licence,
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=False)


def labelled(content: bytes, file_format: FileFormat, label: str) -> bytes:
    """Return the file content with the label added to its metadata."""
    return model_format(file_format).with_metadata(content, LABEL, label)


def read_label(content: bytes, file_format: FileFormat) -> dict[str, Any]:
    """Return the label in a file's metadata.

    The result is empty if the file has no label.
    """
    found = model_format(file_format).metadata_of(content)
    return dict(json.loads(found[LABEL])) if LABEL in found else {}


LANDMARK_LICENCE = "Apache-2.0, Copyright The MediaPipe Authors"

LICENCES_FILE = "LICENCES.txt"

_FACE_MODELS = f"""
landmarks/
    MediaPipe's face detection, face mesh and iris models, copied unchanged:
    {LANDMARK_LICENCE}
    They were taken from the package {WHEEL},
    whose own code (not part of this bundle) is under the MIT licence.
"""


def licences_text(
    sources: Sequence[Origin], *, complete: bool = True, face_models: bool = True
) -> str:
    """Return the text of `LICENCES.txt`.

    Args:
        sources: All data sets that the weights were trained on, with their licences.
        complete: Whether `sources` certainly contains all data sets.
        face_models: Whether the bundle contains the models that find faces and eyes.
    """
    return f"""\
Licences of this bundle

models/{" and reference/" if face_models else ""}
    The architecture of the networks, and the program that trained and exported
    them, are part of mggr-tf: Apache-2.0.
{_data_terms(sources, complete=complete)}
    These terms also apply to the weights.
{_FACE_MODELS if face_models else ""}
contract.json, SHA256SUMS and this file
    Apache-2.0.

The text of the Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""


def _data_terms(sources: Sequence[Origin], *, complete: bool) -> str:
    terms = dict.fromkeys((source.data, source.licence) for source in sources)
    pairs = [*terms, *([] if complete else [("other data", UNKNOWN_DONORS)])]
    lines = [
        f"    The weights were trained on: {data}\n    Terms of this data: {licence}"
        for data, licence in pairs
    ]
    if len(pairs) > 1:
        lines.append("    All of these terms apply.")
    return "\n".join(lines)


ENGINE_RECIPE_FILE = "tensorrt.json"

_VERSIONS = {
    f"from {dotted(OLDEST)} to before {dotted(TYPED_BY_GRAPH)}": OLDEST,
    f"from {dotted(TYPED_BY_GRAPH)}": TYPED_BY_GRAPH,
}


def engine_recipe_text(contract: Contract) -> str:
    """Return a JSON text with the tensors and the TensorRT build options of every ONNX file.

    The build options are the same as those of `mggr-edge build-engine`. These options are written
    as `trtexec` commands, one for each range of TensorRT versions.
    """
    recipes = {
        name: _recipe(name, artifact)
        for name, formats in contract.models.items()
        for artifact in formats
        if artifact.format == "onnx"
    }
    return json.dumps(recipes, indent=2) + "\n"


def _recipe(name: str, artifact: Artifact) -> dict[str, Any]:
    tensors = {
        kind: {spec.name: {"shape": spec.shape, "dtype": spec.dtype} for spec in specs}
        for kind, specs in (("inputs", artifact.inputs), ("outputs", artifact.outputs))
    }
    builds = {versions: _build(name, artifact, version) for versions, version in _VERSIONS.items()}
    return {"file": artifact.file, "precision": artifact.precision, **tensors, "tensorrt": builds}


def _build(name: str, artifact: Artifact, version: tuple[int, ...]) -> dict[str, Any]:
    recipe = recipe_for(artifact.precision, version=version)
    words = ["trtexec", f"--onnx={artifact.file}", f"--saveEngine={name}.engine"]
    return {
        "strongly_typed": recipe.strongly_typed,
        "builder_flags": recipe.flags,
        "command": " ".join([*words, *precision_arguments(recipe)]),
    }
