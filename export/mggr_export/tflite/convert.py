"""Conversion to TFLite: float32, float16, or int8 by calibration after training.

In a float16 file the weights are halved and everything computes in float32.

In an int8 file the convolutions and what lies between them compute with 8-bit
integers (weights per channel). Inputs, outputs and everything behind the last
convolutions stay float: a device feeds both files alike, and the warp reads
its coordinates unrounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.interpreters.batching import cut
from mggr_export.calibration import Arrays
from mggr_export.freeze import FrozenModel
from mggr_export.tflite.graph import Graph, read_graph


def convert_float32(frozen: FrozenModel) -> bytes:
    """Converts without any loss, to builtin ops only."""
    content: bytes = _converter(frozen).convert()
    return content


def convert_float16(frozen: FrozenModel) -> bytes:
    """Stores weights in half precision; an interpreter widens them when it loads the file."""
    converter = _converter(frozen)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    content: bytes = converter.convert()
    return content


def convert_int8(
    frozen: FrozenModel,
    calibration: Arrays,
    *,
    batch: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> bytes:
    """Quantises all but the tail (see `Graph.tail`) by the ranges that calibration shows.

    Plain quantisation would take the warp's coordinates with it: 30 dB instead
    of 53 on real eyes. Which ops to leave out is decided by where they stand in
    the graph, not by their kinds (the warp's additions are like any other) and
    not by layers' names (the converter fuses and renames).

    Args:
        frozen: what to convert.
        calibration: [N, ...] of every input by name.
        batch: how many examples the file takes at once.
        advance: called for every calibration example.
    """

    def examples() -> Iterator[dict[str, NDArray[np.float32]]]:
        # Dicts: lists would be fed in the converter's own order of inputs.
        for example in cut(calibration, batch):
            advance(batch)
            yield example

    converter = _converter(frozen)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter)
    debugger.options = _all_but_the_tail(read_graph(debugger.calibrated_model))
    content: bytes = debugger.get_nondebug_quantized_model()
    return content


def _all_but_the_tail(calibrated: Graph) -> Any:
    """What the quantiser must leave alone, by the names that it goes by itself.

    Args:
        calibrated: its own, still float, model; names differ in other conversions.
    """
    tail = calibrated.tail()
    return tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=[tensor.name for tensor in calibrated.made_by(tail)],
        # An op with several outputs has no one name that would match (the warp's
        # UNPACK of x and y: 46 dB); it has to be named by its kind.
        denylisted_ops=sorted({op.kind for op in tail if len(op.outputs) > 1}),
    )


def _converter(frozen: FrozenModel) -> tf.lite.TFLiteConverter:
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen.function], frozen.owner)
