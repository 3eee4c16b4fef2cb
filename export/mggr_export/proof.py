"""The proof of a converted model: structure and parity, at export and again at verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tensorflow import keras

from mggr_edge.contract import Parity, RunnableFormat
from mggr_edge.errors import BundleError
from mggr_edge.interpreters import FileRunner, open_file
from mggr_edge.interpreters.runner import Kind
from mggr_export.calibration import Arrays
from mggr_export.errors import ArtifactError
from mggr_export.keras_models import outputs_of
from mggr_export.parity import measure, misses, parity_text
from mggr_export.precision import Precision


@dataclass(frozen=True)
class Converted:
    """A model file and what it claims to be."""

    content: bytes
    precision: Precision
    format: RunnableFormat = "tflite"


def file_name(model: str, converted: Converted) -> str:
    """What the file of a model is called in a bundle."""
    return f"{model}.{converted.format}"


@dataclass(frozen=True)
class Proof:
    """What was found about one file.

    Attributes:
        precision: by whose limits it was judged.
        parity: of every output.
        faults: what breaks a limit or a rule, one sentence each; empty when all is well.
        median_flow_px: where there is a flow, its median length in Keras; below a
            pixel the warp has hardly been put to the test.
    """

    precision: Precision
    parity: tuple[Parity, ...]
    faults: tuple[str, ...]
    median_flow_px: float | None


def prove(
    converted: Converted,
    model: keras.Model,
    inputs: Arrays,
    *,
    data: str,
    advance: Callable[[int], None] = lambda n: None,
) -> Proof:
    """Holds a file against its Keras model and against the rules of its precision.

    Args:
        converted: the file.
        model: what is right.
        inputs: [N, ...] of every input.
        data: what the inputs are, for the record.
        advance: called for every input.

    Raises:
        BundleError: no file of its format, or one with other inputs or outputs than the model's.
    """
    faults = []
    try:
        _check_structure(converted)
    except ArtifactError as error:
        faults.append(str(error))
    right = outputs_of(model, inputs)
    runner = open_file(converted.content, converted.format)
    _check_names(runner, inputs, right)
    parity = measure(runner, right, inputs, data=data, advance=advance)
    faults += misses(converted.precision, parity)
    flow = right.get("flow")
    median = None if flow is None else float(np.median(np.linalg.norm(flow, axis=-1)))
    return Proof(converted.precision, parity, tuple(faults), median)


def proofs_text(proofs: Mapping[str, Proof]) -> str:
    """The table of all files for a terminal, and how large the flow was.

    Args:
        proofs: by the files' names.
    """
    lines = [parity_text({name: (p.precision, p.parity) for name, p in proofs.items()})]
    for flow in sorted({p.median_flow_px for p in proofs.values() if p.median_flow_px is not None}):
        caution = "" if flow >= 1 else "; under a pixel, this says little about the warp"
        lines.append(f"median flow {flow:.2f} px{caution}")
    return "\n".join(lines)


def faults_of(proofs: Mapping[str, Proof]) -> str:
    """All faults in one line; empty when all is well."""
    return "; ".join(f"{name}: {fault}" for name, proof in proofs.items() for fault in proof.faults)


def _check_structure(converted: Converted) -> None:
    match converted.format:
        case "tflite":
            from mggr_export.tflite.graph import read_graph
            from mggr_export.tflite.structure import check_structure as check_tflite

            check_tflite(read_graph(converted.content), precision=converted.precision)
        case "onnx":
            from mggr_export.onnx.structure import check_structure as check_onnx

            check_onnx(converted.content, precision=converted.precision)


def _check_names(runner: FileRunner, inputs: Arrays, outputs: Arrays) -> None:
    kinds: tuple[tuple[Kind, Arrays], ...] = (("inputs", inputs), ("outputs", outputs))
    for kind, wanted in kinds:
        found = [spec.name for spec in runner.tensor_specs(kind)]
        if set(found) != set(wanted):
            raise BundleError(
                f"the file has {kind} {', '.join(sorted(found))}; "
                f"its Keras model has {', '.join(sorted(wanted))}"
            )
