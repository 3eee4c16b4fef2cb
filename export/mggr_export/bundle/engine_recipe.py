"""How TensorRT builds engines of a bundle's ONNX files, for those who build them by hand."""

from __future__ import annotations

import json
from typing import Any

from mggr_edge.models.contract import Artifact, Contract
from mggr_edge.models.tensorrt.build_options import OLDEST, TYPED_BY_GRAPH, dotted, recipe_for
from mggr_edge.models.tensorrt.trtexec_builder import precision_arguments

ENGINE_RECIPE_FILE = "tensorrt.json"

_VERSIONS = {
    f"from {dotted(OLDEST)} to before {dotted(TYPED_BY_GRAPH)}": OLDEST,
    f"from {dotted(TYPED_BY_GRAPH)}": TYPED_BY_GRAPH,
}


def engine_recipe_text(contract: Contract) -> str:
    """JSON: of every ONNX file its tensors, and what each TensorRT is asked for.

    The same that `mggr-edge build-engine` does, in `trtexec`'s words.
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
