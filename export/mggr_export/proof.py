"""The proof of a converted model: structure and parity, at export and again at verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tensorflow import keras

from mggr_edge.contract import Parity
from mggr_edge.errors import BundleError
from mggr_edge.interpreters import TFLiteRunner
from mggr_export.calibration import Arrays
from mggr_export.errors import ArtifactError
from mggr_export.keras_models import outputs_of
from mggr_export.parity import measure, misses, parity_text
from mggr_export.structure import Precision, check_structure
from mggr_export.tflite_graph import read_graph


@dataclass(frozen=True)
class Converted:
    """A .tflite file and what it claims to be."""

    content: bytes
    precision: Precision


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
        BundleError: no TFLite file, or one with other inputs or outputs than the model's.
    """
    faults = []
    try:
        check_structure(read_graph(converted.content), precision=converted.precision)
    except ArtifactError as error:
        faults.append(str(error))
    right = outputs_of(model, inputs)
    runner = TFLiteRunner(converted.content)
    _check_names(runner, inputs, right)
    parity = measure(runner, right, inputs, data=data, advance=advance)
    faults += misses(converted.precision, parity)
    flow = right.get("flow")
    median = None if flow is None else float(np.median(np.linalg.norm(flow, axis=-1)))
    return Proof(converted.precision, parity, tuple(faults), median)


def proofs_text(proofs: Mapping[str, Proof]) -> str:
    """The table of all models for a terminal, and how large the flow was."""
    lines = [parity_text({name: (p.precision, p.parity) for name, p in proofs.items()})]
    for name, proof in proofs.items():
        flow = proof.median_flow_px
        if flow is not None:
            caution = "" if flow >= 1 else "; under a pixel, this says little about the warp"
            lines.append(f"{name}: median flow {flow:.2f} px{caution}")
    return "\n".join(lines)


def faults_of(proofs: Mapping[str, Proof]) -> str:
    """All faults in one line; empty when all is well."""
    return "; ".join(f"{name}: {fault}" for name, proof in proofs.items() for fault in proof.faults)


def _check_names(runner: TFLiteRunner, inputs: Arrays, outputs: Arrays) -> None:
    for kind, found, wanted in (
        ("inputs", runner.inputs, inputs),
        ("outputs", runner.outputs, outputs),
    ):
        if set(found) != set(wanted):
            raise BundleError(
                f"the file has {kind} {', '.join(sorted(found))}; "
                f"its Keras model has {', '.join(sorted(wanted))}"
            )
