"""Measure how much accuracy each layer of an int8 file loses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.runtimes.runner import Arrays, batch_of
from mggr_export.formats.model_format import Dissection
from mggr_export.proofs.proof import compare, run_each, shown


@dataclass(frozen=True)
class LayerCost:
    """Accuracy that the output loses because one layer is quantized.

    Attributes:
        layer: Name of the layer in the file.
        sqnr_db: Signal-to-quantization-noise ratio of the layer's output, in dB. The noise
            includes the errors of all earlier layers.
        gain_db: Increase of the PSNR of the model's output if this layer stays float, in dB. `None`
            if the gain is infinite because an output is equal to the output of Keras.
    """

    layer: str
    sqnr_db: float
    gain_db: float | None


def explain(
    dissection: Dissection,
    right: Arrays,
    inputs: Arrays,
    *,
    advance: Callable[[int], None] = lambda n: None,
) -> tuple[LayerCost, ...]:
    """Return the cost of every layer. The layer with the largest gain is first.

    Args:
        dissection: Int8 file, its float graph, and variants with one float layer.
        right: Dict of the outputs of the Keras model for `inputs`. Each array has the shape [N,
            ...].
        inputs: Inputs by name. Each array has the shape [N, ...].
        advance: Callback for the progress bar. `advance(1)` is called after every layer.
    """
    picture = shown(right)

    def psnr_db(content: bytes) -> float:
        runner = dissection.runner(content)
        made = run_each(runner, inputs, batch=batch_of(runner))
        found = compare(picture, made[picture], right[picture], data="").psnr_db
        return np.inf if found is None else found

    whole = psnr_db(dissection.quantised)
    made = dissection.outputs(dissection.quantised, inputs)
    wanted = dissection.outputs(dissection.reference, inputs)
    costs = []
    for layer in dissection.layers:
        gain = psnr_db(dissection.spared(layer)) - whole
        sqnr = _sqnr_db(made[layer], wanted[layer]) if layer in made else np.inf
        costs.append(LayerCost(layer, sqnr, gain if np.isfinite(gain) else None))
        advance(1)
    return tuple(sorted(costs, key=lambda one: -(one.gain_db or 0.0)))


def explained_text(file: str, costs: Iterable[LayerCost]) -> str:
    """Return the table of layer costs as text for a terminal."""
    form = "  {:>8}  {:>8}  {}"
    lines = [
        f"{file}: for each layer, the PSNR gain of the output if this layer stays float, and the "
        "signal-to-quantization-noise ratio (SQNR) of its own output (with earlier layers' errors)",
        form.format("gain", "SQNR", "layer"),
        *(
            form.format(_db(c.gain_db, sign=True), _db(c.sqnr_db), c.layer.split(";")[0])
            for c in costs
        ),
    ]
    return "\n".join(lines)


def _sqnr_db(made: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    error = float(np.mean((made.astype(np.float64) - wanted) ** 2))
    signal = float(np.mean(wanted.astype(np.float64) ** 2))
    return np.inf if error == 0 else 10 * float(np.log10(max(signal, 1e-30) / error))


def _db(value: float | None, *, sign: bool = False) -> str:
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:+.2f} dB" if sign else f"{value:.1f} dB"
