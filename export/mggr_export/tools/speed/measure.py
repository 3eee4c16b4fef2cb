"""Times a redirector, its convolutions, a rival and a matrix product, all in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tensorflow import keras

from mggr_edge.common.progress import Progress
from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.tflite import interpreter_class
from mggr_edge.tools.bench.candidates import inputs_for
from mggr_edge.tools.bench.models import interleaved
from mggr_export.formats.quiet import quiet_converter
from mggr_export.formats.registry import model_format
from mggr_export.tools.speed.layers import convolutions_of
from mggr_export.tools.speed.matrices import matrix_product
from mggr_export.tools.speed.rival import prgan_generator

_EXAMPLES = 16

SpeedPrecision = Literal["float32", "int8"]
PRECISIONS: tuple[SpeedPrecision, ...] = ("float32", "int8")


@dataclass(frozen=True)
class LayerSpeed:
    """One convolution alone.

    Attributes:
        name: of the layer.
        mmac: million multiply-accumulates.
        ms: median of its kernel, by precision.
    """

    name: str
    mmac: float
    ms: dict[SpeedPrecision, float]


@dataclass(frozen=True)
class Speed:
    """What was found, on one thread of one TFLite interpreter.

    Attributes:
        redirector_ms: median for one eye, warp included, by precision.
        rival_ms: median of PRGAN's float generator.
        ratio: rival over redirector, median over rounds, by precision.
        layers: the redirector's convolutions, each alone.
        matrix_gmacs: GMAC a second of a float matrix product on this core.
        rounds: of everything.
    """

    redirector_ms: dict[SpeedPrecision, float]
    rival_ms: float
    ratio: dict[SpeedPrecision, float]
    layers: tuple[LayerSpeed, ...]
    matrix_gmacs: float
    rounds: int

    def convolutions_ms(self, precision: SpeedPrecision) -> float:
        """All convolutions, one after another."""
        return sum(layer.ms[precision] for layer in self.layers)

    def convolution_gmacs(self, precision: SpeedPrecision) -> float:
        """GMAC a second of all convolutions together."""
        return sum(layer.mmac for layer in self.layers) / self.convolutions_ms(precision)


def measure_speed(redirector: keras.Model, *, seconds: float, progress: Progress) -> Speed:
    """Converts everything and times it.

    Integers are calibrated on noise: how fast they are does not depend on what they say.

    Args:
        redirector: in Keras; its weights do not matter.
        seconds: for the timing.
        progress: shows how far it is.
    """
    layers = convolutions_of(redirector)
    product, product_mmac = matrix_product()
    with quiet_converter(), progress("converting", 2 * len(layers) + 3) as advance:
        calls: list[Callable[[], object]] = [_redirection(redirector, p) for p in PRECISIONS]
        advance(2)
        calls.append(_tflite(model_format("tflite").float32(prgan_generator(), batch=1)))
        advance(1)
        calls.append(product)
        for layer in layers:
            for precision in PRECISIONS:
                calls.append(_kernel(_converted(layer.model, precision)))
                advance(1)
    with progress("timing", None) as advance:
        took = interleaved(calls, seconds=seconds, advance=advance)
    ours, rival, matrices = took[:, :2], took[:, 2], took[:, 3]
    kernels = np.median(took[:, 4:], axis=0).reshape(len(layers), len(PRECISIONS))
    return Speed(
        redirector_ms=_by_precision(np.median(ours, axis=0)),
        rival_ms=float(np.median(rival)),
        ratio=_by_precision(np.median(rival[:, None] / ours, axis=0)),
        layers=tuple(
            LayerSpeed(layer.name, layer.mmac, _by_precision(ms))
            for layer, ms in zip(layers, kernels, strict=True)
        ),
        matrix_gmacs=product_mmac / float(np.median(matrices)),
        rounds=len(took),
    )


def _by_precision(values: Iterable[float]) -> dict[SpeedPrecision, float]:
    return {name: float(value) for name, value in zip(PRECISIONS, values, strict=True)}


def _redirection(model: keras.Model, precision: SpeedPrecision) -> Callable[[], object]:
    """One eye from arrays to arrays, as a device asks for it."""
    return _tflite(_converted(model, precision))


def _tflite(content: bytes) -> Callable[[], object]:
    runner = open_file(content, "tflite")
    inputs = inputs_for(runner.tensor_specs("inputs"))
    return lambda: runner(inputs)


def _kernel(content: bytes) -> Callable[[], object]:
    """A model's ops alone: its inputs are set once, its outputs never fetched."""
    interpreter = interpreter_class(None)(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        value = rng.uniform(-1, 1, details["shape"]).astype(details["dtype"])
        interpreter.set_tensor(details["index"], value)
    run: Callable[[], object] = interpreter.invoke
    return run


def _converted(model: keras.Model, precision: SpeedPrecision) -> bytes:
    convert = model_format("tflite")
    if precision == "float32":
        return convert.float32(model, batch=1)
    rng = np.random.default_rng(0)
    noise = {
        tensor.name: rng.uniform(-1, 1, (_EXAMPLES, *tensor.shape[1:])).astype(np.float32)
        for tensor in model.inputs
    }
    return convert.int8(model, noise, batch=1, advance=lambda n: None)
