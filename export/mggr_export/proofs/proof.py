"""The proof of a converted model: structure and parity, at export and again at verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tensorflow import keras

from mggr_edge.errors import BundleError
from mggr_edge.models.contract import GazeShown, OpeningParity, Parity
from mggr_edge.models.runtimes import FileRunner
from mggr_edge.models.runtimes.runner import Kind, batch_of
from mggr_export.arrays import Arrays
from mggr_export.errors import ArtifactError
from mggr_export.eyes.sight import WIDE_DEG, Openings, Sight
from mggr_export.formats.keras_models import outputs_of
from mggr_export.formats.model_format import FileFormat
from mggr_export.formats.registry import model_format
from mggr_export.proofs.parity import (
    compare_each,
    gaze_misses,
    misses,
    opening_misses,
    opening_text,
    parity_text,
    run_each,
)
from mggr_tf.config.conversion_limits import ConversionLimits, Precision, PrecisionLimits

_FEWEST_WIDE = 0.25


@dataclass(frozen=True)
class Converted:
    """A model file and what it claims to be."""

    content: bytes
    precision: Precision
    format: FileFormat = "tflite"


def file_name(model: str, converted: Converted) -> str:
    """What the file of a model is called in a bundle."""
    return f"{model}.{model_format(converted.format).suffix}"


@dataclass(frozen=True)
class Proof:
    """What was found about one file.

    Attributes:
        precision: of the file.
        limits: by which it was judged.
        parity: of every output.
        faults: what breaks a limit or a rule, one sentence each; empty when all is well.
        median_flow_px: where there is a flow, its median length in Keras; below a
            pixel the warp has hardly been put to the test.
        gaze: of a redirector, where its pictures look.
        wide_share: part of its pairs whose target is far away.
        opening: of a redirector, its pictures inside the eye opening.
    """

    precision: Precision
    limits: PrecisionLimits
    parity: tuple[Parity, ...]
    faults: tuple[str, ...]
    median_flow_px: float | None = None
    gaze: GazeShown | None = None
    wide_share: float | None = None
    opening: OpeningParity | None = None


def prove(
    converted: Converted,
    model: keras.Model,
    inputs: Arrays,
    *,
    limits: ConversionLimits,
    data: str,
    sight: Sight | None = None,
    openings: Openings | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> Proof:
    """Holds a file against its Keras model and against the rules of its precision.

    Args:
        converted: the file.
        model: what is right.
        inputs: [N, ...] of every input.
        limits: what it may differ by.
        data: what the inputs are, for the record.
        sight: looks at the pictures of a redirector.
        openings: the eye openings in the inputs of a redirector.
        advance: called for every input.

    Raises:
        BundleError: no file of its format, or one with other inputs or outputs than the model's.
    """
    faults = []
    handled = model_format(converted.format)
    try:
        handled.check_structure(converted.content, converted.precision)
    except ArtifactError as error:
        faults.append(str(error))
    right = outputs_of(model, inputs)
    runner = handled.open(converted.content)
    _check_names(runner, inputs, right)
    made = run_each(runner, inputs, batch=batch_of(runner), advance=advance)
    parity = compare_each(made, right, data=data)
    allowed = limits.of(converted.precision)
    faults += misses(allowed, parity)
    gaze = None if sight is None else sight.compare(made["redirected"], right["redirected"])
    faults += gaze_misses(allowed, gaze)
    opening = (
        None if openings is None else openings.compare(made["redirected"], right["redirected"])
    )
    faults += opening_misses(allowed, opening)
    flow = right.get("flow")
    return Proof(
        converted.precision,
        allowed,
        parity,
        tuple(faults),
        median_flow_px=None if flow is None else float(np.median(np.linalg.norm(flow, axis=-1))),
        gaze=gaze,
        wide_share=None if sight is None else sight.wide_share,
        opening=opening,
    )


def proofs_text(proofs: Mapping[str, Proof]) -> str:
    """The table of all files for a terminal, and how large the flow was.

    Args:
        proofs: by the files' names.
    """
    lines = [parity_text({name: (p.precision, p.limits, p.parity) for name, p in proofs.items()})]
    lines += [
        f"{name}: {opening_text(proof.limits, proof.opening)}"
        for name, proof in proofs.items()
        if proof.opening is not None
    ]
    lines += [
        f"{name}: redirected gazes are {proof.gaze.error_deg:.2f} degrees off "
        f"({proof.gaze.extra_deg:+.3f} against Keras), as the run's estimator sees them"
        for name, proof in proofs.items()
        if proof.gaze is not None
    ]
    lines += dict.fromkeys(_hardness(proof) for proof in proofs.values() if proof.median_flow_px)
    return "\n".join(lines)


def _hardness(proof: Proof) -> str:
    """How much the pairs asked for."""
    flow, wide = proof.median_flow_px or 0.0, proof.wide_share
    said = f"median flow {flow:.2f} px"
    if flow < 1:
        said += "; under a pixel, this says little about the warp"
    if wide is not None:
        said += f"; {wide:.0%} of the targets are beyond {WIDE_DEG:g} degrees"
        said += "" if wide >= _FEWEST_WIDE else ", which are few"
    return said


def faults_of(proofs: Mapping[str, Proof]) -> str:
    """All faults in one line; empty when all is well."""
    return "; ".join(f"{name}: {fault}" for name, proof in proofs.items() for fault in proof.faults)


def _check_names(runner: FileRunner, inputs: Arrays, outputs: Arrays) -> None:
    kinds: tuple[tuple[Kind, Arrays], ...] = (("inputs", inputs), ("outputs", outputs))
    for kind, wanted in kinds:
        found = [spec.name for spec in runner.tensor_specs(kind)]
        if set(found) != set(wanted):
            raise BundleError(
                f"the file has {kind} {', '.join(sorted(found))}; "
                f"its Keras model has {', '.join(sorted(wanted))}"
            )
