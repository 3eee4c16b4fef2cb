"""Conversion to TFLite: float32, or int8 by calibration after training.

In an int8 file the convolutions and what lies between them compute with 8-bit
integers (weights per channel). Inputs, outputs and everything behind the last
convolutions stay float: a device feeds both files alike, and the warp reads
its coordinates unrounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_export.calibration import Arrays, one_by_one
from mggr_export.freeze import FrozenModel
from mggr_export.tflite_graph import read_graph


def convert_float32(frozen: FrozenModel) -> bytes:
    """Converts without any loss, to builtin ops only."""
    content: bytes = _converter(frozen).convert()
    return content


def convert_int8(
    frozen: FrozenModel,
    calibration: Arrays,
    *,
    advance: Callable[[int], None] = lambda n: None,
) -> bytes:
    """Quantises all but the tail (see `Graph.tail`) by the ranges that calibration shows.

    Plain quantisation would take the warp's coordinates with it: 30 dB instead
    of 46 on real eyes. Which ops to leave out is decided by where they stand in
    the graph, not by their kinds (the warp's additions are like any other) and
    not by layers' names (the converter fuses and renames).

    Args:
        frozen: what to convert.
        calibration: [N, ...] of every input by name.
        advance: called for every calibration example.
    """

    def examples() -> Iterator[dict[str, NDArray[np.float32]]]:
        # Dicts: lists would be fed in the converter's own order of inputs.
        for example in one_by_one(calibration):
            advance(1)
            yield example

    converter = _converter(frozen)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter)
    # The names that the quantiser goes by are those of its calibrated, still float, model.
    calibrated = read_graph(debugger.calibrated_model)
    tail = [tensor.name for tensor in calibrated.made_by(calibrated.tail())]
    debugger.options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=tail)
    content: bytes = debugger.get_nondebug_quantized_model()
    return content


def _converter(frozen: FrozenModel) -> tf.lite.TFLiteConverter:
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen.function], frozen.owner)
