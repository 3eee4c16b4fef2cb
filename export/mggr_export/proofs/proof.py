"""Check a converted model file. This check is called a proof.

A proof has two parts. The first part checks the structure of the file. The second part measures the
parity, that is, the differences between the outputs of the file and those of the Keras model. The
file runs in the device's own runner. The inputs of the file come from the device's own
preprocessing. The config defines the limits for the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.errors import ArtifactError, BundleError
from mggr_edge.models.contract import GazeShown, OpeningParity, Parity
from mggr_edge.models.runtimes import FileRunner, Runner
from mggr_edge.models.runtimes.runner import Arrays, InBatches, Kind, batch_of
from mggr_export.eyes.sight import WIDE_DEG, Openings, Sight
from mggr_export.formats import model_format
from mggr_export.formats.keras_models import outputs_of
from mggr_export.formats.model_format import FileFormat
from mggr_tf.config.conversion_limits import ConversionLimits, Limit, Precision, PrecisionLimits

RANGES = {
    "eye": (-1.0, 1.0),
    "gazemap": (0.0, 1.0),
    "coarse": (-1.0, 1.0),
    "alpha": (0.0, 1.0),
    "redirected": (-1.0, 1.0),
    "state": (0.0, 1.0),
}
"""Fixed value ranges by tensor name.

For any other tensor, the PSNR uses the range of the Keras outputs for the same inputs.
"""


def run_each(
    runner: Runner,
    inputs: Arrays,
    *,
    batch: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> Arrays:
    """Run a model file on N examples with its fixed batch size, as a device does.

    Args:
        runner: Runner that accepts `batch` examples at once.
        inputs: Inputs of all examples by name. Each array has the shape [N, ...].
        batch: Batch size of the runner.
        advance: Callback for the progress bar. It receives the number of examples in each finished
            batch.

    Returns:
        Outputs by name. Each array has the shape [N, ...].
    """
    count = len(next(iter(inputs.values())))
    parts = []
    for first in range(0, count, batch):
        some = {name: value[first : first + batch] for name, value in inputs.items()}
        parts.append(InBatches(runner, batch)(some))
        advance(len(parts[-1][next(iter(parts[-1]))]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compare_each(made: Arrays, right: Arrays, *, data: str) -> tuple[Parity, ...]:
    """Compare every output of a model file with the same output of Keras.

    Args:
        made: Outputs of the model file by name. Each array has the shape [N, ...].
        right: Outputs of Keras by name. Each array has the shape [N, ...].
        data: Description of the inputs. The result contains this description.

    Raises:
        ValueError: If the output names differ.
    """
    if set(made) != set(right):
        raise ValueError(f"the file has the outputs {sorted(made)}; Keras has {sorted(right)}")
    return tuple(compare(name, made[name], right[name], data=data) for name in sorted(right))


def compare(name: str, made: NDArray, right: NDArray, *, data: str) -> Parity:
    """Compare one output of a model file with the same output of Keras.

    Args:
        name: Name of the output.
        made: [N, ...] output of the model file.
        right: [N, ...] output of Keras.
        data: Description of the inputs. The result contains this description.
    """
    difference = made.astype(np.float64) - right
    rms = float(np.sqrt(np.mean(difference**2)))
    span = span_of(name, right)
    return Parity(
        output=name,
        pairs=len(right),
        data=data,
        max_abs=_rounded(float(np.abs(difference).max())),
        mean_abs=_rounded(float(np.abs(difference).mean())),
        psnr_db=None if rms == 0 else _rounded(20 * float(np.log10(span / rms))),
    )


def span_of(name: str, right: NDArray) -> float:
    """Return the size of an output's value range (maximum minus minimum), at least 1e-6.

    If `RANGES` contains the output, its range is used. Otherwise, the range of the Keras values
    `right` is used.
    """
    return max(float(np.ptp(RANGES.get(name, right))), 1e-6)


def shown(outputs: Iterable[str]) -> str:
    """Return the name of the output that the user sees: `redirected` or `gaze`."""
    (found,) = (name for name in ("redirected", "gaze") if name in outputs)
    return found


def misses(limits: PrecisionLimits, parities: Iterable[Parity]) -> list[str]:
    """Return one sentence for each output that exceeds its limit."""
    return [
        f"{p.output} differs from Keras: at most {p.max_abs:.2g}, on average {p.mean_abs:.2g}, "
        f"PSNR {_db(p.psnr_db)} "
        f"(limit: {_limit_text(limits.of(p.output))})"
        for p in parities
        if breaks(limits.of(p.output), p)
    ]


def breaks(limit: Limit | None, parity: Parity) -> bool:
    """Return whether the measured difference exceeds the limit.

    The result is False if there is no limit.
    """
    return limit is not None and (
        _above(parity.max_abs, limit.max_abs)
        or _above(parity.mean_abs, limit.mean_abs)
        # The PSNR is None if both outputs are equal.
        or (parity.psnr_db is not None and _above(limit.min_psnr_db, parity.psnr_db))
    )


def gaze_misses(limits: PrecisionLimits, gaze: GazeShown | None) -> list[str]:
    """Return a list with one sentence if the additional gaze error exceeds its limit.

    If the error is within the limit, the list is empty.
    """
    limit = limits.extra_gaze_deg
    # The condition uses "<=", so NaN exceeds the limit.
    if gaze is None or gaze.extra_deg <= limit:
        return []
    return [
        f"the gaze error after redirection is {gaze.extra_deg:.3g} degrees larger than with Keras "
        f"(limit: {limit:g})"
    ]


def opening_misses(limits: PrecisionLimits, opening: OpeningParity | None) -> list[str]:
    """Return a list with one sentence if the PSNR inside the eye opening is below its limit.

    If the PSNR is within the limit, the list is empty.
    """
    if opening is None or not breaks_opening(limits, opening):
        return []
    return [
        f"inside the eye opening, the output 'redirected' has a PSNR of {_db(opening.psnr_db)} "
        f"(limit: {limits.opening})"
    ]


def breaks_opening(limits: PrecisionLimits, opening: OpeningParity) -> bool:
    """Return whether the PSNR inside the eye opening is below its limit.

    The result is False if the pictures are equal, or if there is no limit.
    """
    least = None if limits.opening is None else limits.opening.min_psnr_db
    return opening.psnr_db is not None and _above(least, opening.psnr_db)


def opening_text(limits: PrecisionLimits, opening: OpeningParity) -> str:
    """Return the PSNR inside the eye opening and its limit, as text for a terminal."""
    verdict = "  FAILED" if breaks_opening(limits, opening) else ""
    return (
        f"PSNR {_db(opening.psnr_db)} inside the eye opening ({opening.region}, "
        f"{opening.share:.0%} of the pixels; limit: {_limit_text(limits.opening)}){verdict}"
    )


def parity_text(files: Mapping[str, tuple[Precision, PrecisionLimits, Iterable[Parity]]]) -> str:
    """Return the table of differences from Keras as text for a terminal.

    Args:
        files: One tuple for each file name. The tuple contains the precision, its limits, and the
            measured differences.
    """
    form = "{:<17} {:<9} {:<11} {:>9} {:>9} {:>9}  {}"
    lines = [form.format("file", "precision", "output", "max", "mean", "PSNR", "limit")]
    for name, (precision, limits, parities) in files.items():
        for p in parities:
            limit = limits.of(p.output)
            verdict = f"{_limit_text(limit)}{'  FAILED' if breaks(limit, p) else ''}"
            numbers = (f"{p.max_abs:.2e}", f"{p.mean_abs:.2e}", _db(p.psnr_db))
            lines.append(form.format(name, precision, p.output, *numbers, verdict))
    return "\n".join(lines)


def _limit_text(limit: Limit | None) -> str:
    return "none" if limit is None else f"{limit}"


def _above(value: float | None, limit: float | None) -> bool:
    # The condition is "not <=" instead of ">", so NaN exceeds the limit.
    return value is not None and limit is not None and not value <= limit


def _rounded(value: float) -> float:
    """Round to four significant digits, because further digits differ between processors."""
    return float(f"{value:.4g}")


def _db(psnr_db: float | None) -> str:
    return "equal" if psnr_db is None else f"{psnr_db:.1f} dB"


_FEWEST_WIDE = 0.25


@dataclass(frozen=True)
class Converted:
    """Content, precision and format of a model file."""

    content: bytes
    precision: Precision
    format: FileFormat = "tflite"


def file_name(model: str, converted: Converted) -> str:
    """Return the file name of a model in a bundle."""
    return f"{model}.{model_format(converted.format).suffix}"


@dataclass(frozen=True)
class Proof:
    """Results of the checks of one file.

    Attributes:
        precision: Precision of the file.
        limits: Limits that the file was checked against.
        parity: Differences from Keras, for every output.
        faults: One sentence for each limit that is exceeded and each rule that is broken.
        median_flow_px: Median length of the flow vectors that Keras computes, in pixels. If the
            length is below one pixel, the proof hardly tests the warp. `None` if the model has no
            output `flow`.
        gaze: Gaze errors of the redirected pictures. `None` if the model is not a redirector.
        wide_share: Fraction of the pairs whose target gaze differs from the source gaze by more
            than `WIDE_DEG`. `None` if the model is not a redirector.
        opening: Difference from Keras inside the eye opening. `None` if the model is not a
            redirector.
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
    """Compare a file with its Keras model, and check the file against the rules of its precision.

    Args:
        converted: File to check.
        model: Keras model whose outputs are the reference.
        inputs: Inputs by name. Each array has the shape [N, ...].
        limits: Allowed differences.
        data: Description of the inputs. The result contains this description.
        sight: Gaze comparison for redirected pictures. `None` if the model is not a redirector.
        openings: Eye openings in the inputs. `None` if the model is not a redirector.
        advance: Callback for the progress bar. It receives the number of examples in each finished
            batch.

    Raises:
        BundleError: If the content does not have the declared format. Also raised if the names of
            the file's inputs or outputs differ from those of the model.
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
    """Return the results of all files as text for a terminal.

    The text contains the table of differences from Keras. Below the table, the text contains the
    PSNR inside the eye opening, the gaze errors, and the length of the flow.

    Args:
        proofs: Proofs by file name.
    """
    lines = [parity_text({name: (p.precision, p.limits, p.parity) for name, p in proofs.items()})]
    lines += [
        f"{name}: {opening_text(proof.limits, proof.opening)}"
        for name, proof in proofs.items()
        if proof.opening is not None
    ]
    lines += [
        f"{name}: mean gaze error after redirection {proof.gaze.error_deg:.2f} degrees, measured "
        f"by the run's estimator ({proof.gaze.extra_deg:+.3f} degrees compared with Keras)"
        for name, proof in proofs.items()
        if proof.gaze is not None
    ]
    lines += dict.fromkeys(_hardness(proof) for proof in proofs.values() if proof.median_flow_px)
    return "\n".join(lines)


def _hardness(proof: Proof) -> str:
    """Return a sentence about the difficulty of the compared pairs.

    The sentence contains the median flow length and the fraction of wide targets.
    """
    flow, wide = proof.median_flow_px or 0.0, proof.wide_share
    said = f"median flow {flow:.2f} px"
    if flow < 1:
        said += "; a flow below 1 px hardly tests the warp"
    if wide is not None:
        said += f"; {wide:.0%} of the targets are more than {WIDE_DEG:g} degrees from the source"
        said += "" if wide >= _FEWEST_WIDE else f" (expected at least {_FEWEST_WIDE:.0%})"
    return said


def faults_of(proofs: Mapping[str, Proof]) -> str:
    """Return all faults in one line.

    The text is empty if there is no fault.
    """
    return "; ".join(f"{name}: {fault}" for name, proof in proofs.items() for fault in proof.faults)


def _check_names(runner: FileRunner, inputs: Arrays, outputs: Arrays) -> None:
    kinds: tuple[tuple[Kind, Arrays], ...] = (("inputs", inputs), ("outputs", outputs))
    for kind, wanted in kinds:
        found = [spec.name for spec in runner.tensor_specs(kind)]
        if set(found) != set(wanted):
            raise BundleError(
                f"the file has the {kind} {', '.join(sorted(found))}; "
                f"its Keras model has {', '.join(sorted(wanted))}",
                code="tensor-names-differ",
                kind=kind,
                found=", ".join(sorted(found)),
                expected=", ".join(sorted(wanted)),
            )
