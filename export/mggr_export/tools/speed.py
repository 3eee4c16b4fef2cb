"""Measure the speed of a redirector and of each of its layers.

The redirector is compared with PRGAN's generator, and with the speed of a matrix product on this
processor core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import click
import numpy as np
import onnx
from onnx import TensorProto, helper
from tensorflow import keras

from mggr_edge.common.cli_group import FiniteRange, OneLineError
from mggr_edge.common.progress import Progress, progress
from mggr_edge.errors import MggrError
from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.onnx import OnnxRunner
from mggr_edge.models.runtimes.tflite import interpreter_class
from mggr_edge.tools.bench.models import interleaved
from mggr_edge.tools.bench.result import inputs_for
from mggr_export.formats import model_format, quiet_converter
from mggr_export.formats.keras_models import models_of_run
from mggr_tf.config.files import load_config
from mggr_tf.models.baselines import build_generator
from mggr_tf.runs.listing import open_run


@dataclass(frozen=True)
class Convolution:
    """One convolution of a model.

    Attributes:
        name: Name of the layer. The names of the nested models that contain the layer come first.
        model: Keras model that contains only this convolution. The input `x` of this model has the
            shape [B, H, W, C].
        mmac: Number of multiply-accumulate operations for one example, in millions.
    """

    name: str
    model: keras.Model
    mmac: float


def convolutions_of(model: keras.Model) -> tuple[Convolution, ...]:
    """Return all convolutions of a model and of its nested models. They keep the layer order."""
    return tuple(_convolution(name, layer) for name, layer in _layers(model, ""))


def _layers(model: keras.Model, path: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{path}{layer.name}/")
        elif isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            yield f"{path}{layer.name}", layer


def _convolution(name: str, layer: keras.layers.Layer) -> Convolution:
    x = keras.Input(layer.input_shape[1:], name="x")
    alone = keras.Model(x, layer.__class__.from_config(layer.get_config())(x), name="alone")
    places = np.prod(alone.output_shape[1:3])
    if isinstance(layer, keras.layers.Conv2DTranspose):
        places = np.prod(layer.input_shape[1:3])
    return Convolution(name, alone, float(places * np.prod(layer.get_weights()[0].shape)) / 1e6)


_SIDE = 768


def matrix_product() -> tuple[Callable[[], object], float]:
    """Return a function that multiplies two square float32 matrices on one thread.

    ONNX Runtime computes the product, because its kernels use the widest instructions of the
    processor. A BLAS library that was built for another processor may not use these instructions.

    Returns:
        Function that computes the product, and the number of its multiply-accumulate operations in
        millions.
    """
    shape = (_SIDE, _SIDE)
    left, right, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("left", "right", "made")
    )
    node = helper.make_node("MatMul", ["left", "right"], ["made"])
    graph = helper.make_graph([node], "product", [left, right], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    runner = OnnxRunner(model.SerializeToString())
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=shape).astype(np.float32) for name in ("left", "right")}
    return lambda: runner(inputs), _SIDE**3 / 1e6


_CONFIG = "prgan-paper"


def prgan_generator() -> keras.Model:
    """Return PRGAN's generator at its published size, untrained.

    The generator has 8.42 million parameters. One call needs 2.45 GMAC, that is, 2.45 billion
    multiply-accumulate operations.
    """
    config = load_config(_CONFIG)
    size = config.models.generator
    assert size is not None
    return build_generator(
        size, size_px=config.conventions.patch_size, guidance=config.models.guidance
    )


_EXAMPLES = 16

SpeedPrecision = Literal["float32", "int8"]
PRECISIONS: tuple[SpeedPrecision, ...] = ("float32", "int8")


@dataclass(frozen=True)
class LayerSpeed:
    """Speed of one convolution that is timed alone.

    Attributes:
        name: Name of the layer.
        mmac: Number of multiply-accumulate operations for one example, in millions.
        ms: Precision -> median time of the convolution in milliseconds.
    """

    name: str
    mmac: float
    ms: dict[SpeedPrecision, float]


@dataclass(frozen=True)
class Speed:
    """Measured speed on one thread of one TFLite interpreter.

    Attributes:
        redirector_ms: Precision -> median time of the redirector for one eye, in milliseconds. The
            time includes the warp.
        rival_ms: Median time of PRGAN's float generator in milliseconds.
        ratio: Precision of the redirector -> time of PRGAN's float generator, divided by the time
            of the redirector. Each value is the median over all rounds.
        layers: Convolutions of the redirector. Each convolution was timed alone.
        matrix_gmacs: Speed of a float matrix product on this core, in GMAC per second.
        rounds: Number of timing rounds.
    """

    redirector_ms: dict[SpeedPrecision, float]
    rival_ms: float
    ratio: dict[SpeedPrecision, float]
    layers: tuple[LayerSpeed, ...]
    matrix_gmacs: float
    rounds: int

    def convolutions_ms(self, precision: SpeedPrecision) -> float:
        """Return the sum of the times of all convolutions, in milliseconds."""
        return sum(layer.ms[precision] for layer in self.layers)

    def convolution_gmacs(self, precision: SpeedPrecision) -> float:
        """Return the speed of all convolutions together, in GMAC per second."""
        return sum(layer.mmac for layer in self.layers) / self.convolutions_ms(precision)


def measure_speed(redirector: keras.Model, *, seconds: float, progress: Progress) -> Speed:
    """Convert all models and time them.

    Int8 models are calibrated on noise, because their speed does not depend on the values.

    Args:
        redirector: Keras redirector. The weights do not affect the result.
        seconds: Duration of the timing in seconds.
        progress: Factory of progress bars.
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
    """Return a function that redirects one eye from arrays to arrays, as on a device."""
    return _tflite(_converted(model, precision))


def _tflite(content: bytes) -> Callable[[], object]:
    runner = open_file(content, "tflite")
    inputs = inputs_for(runner.tensor_specs("inputs"))
    return lambda: runner(inputs)


def _kernel(content: bytes) -> Callable[[], object]:
    """Return a function that only runs the ops of a model.

    The inputs are set once, and the outputs are never read.
    """
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


def speed_text(speed: Speed) -> str:
    """Return tables as text for a terminal.

    One table compares the redirector with PRGAN's generator. Below the table, the speed of the
    convolutions is compared with that of a matrix product. Another table lists all convolutions.
    """
    lines = ["Conditions: one thread, one TFLite interpreter, all models timed in turns.", ""]
    form = "{:<34} {:>10} {:>18}"
    lines.append(form.format("one eye", "median", "speedup over"))
    lines.append(form.format("", "", "PRGAN's generator"))
    for precision in PRECISIONS:
        ms, ratio = speed.redirector_ms[precision], speed.ratio[precision]
        lines.append(form.format(f"redirector, {precision}", f"{ms:.2f} ms", f"{ratio:.1f}"))
    lines.append(form.format("PRGAN's generator, float32", f"{speed.rival_ms:.1f} ms", "1.0"))
    lines += ["", f"float matrix product on this core: {speed.matrix_gmacs:.1f} GMAC/s"]
    for precision in PRECISIONS:
        rate, part = speed.convolution_gmacs(precision), speed.convolutions_ms(precision)
        rest = speed.redirector_ms[precision] - part
        lines.append(
            f"convolutions, {precision}: {part:.2f} ms, {rate:.1f} GMAC/s, "
            f"{rate / speed.matrix_gmacs:.0%} of the matrix product; all other ops: {rest:.2f} ms"
        )
    lines += ["", _LAYER.format("convolution", "MMAC", *_heads())]
    for layer in speed.layers:
        cells = []
        for precision in PRECISIONS:
            ms = layer.ms[precision]
            cells += [f"{ms:.3f}", f"{layer.mmac / ms:.1f}"]
        lines.append(_LAYER.format(layer.name, f"{layer.mmac:.2f}", *cells))
    return "\n".join([*lines, f"{speed.rounds} rounds; times in milliseconds, speeds in GMAC/s"])


_LAYER = "{:<34} {:>6} {:>9} {:>8} {:>9} {:>8}"


def _heads() -> list[str]:
    return [word for precision in PRECISIONS for word in (precision, "GMAC/s")]


@click.command()
@click.argument("run", default="default")
@click.option(
    "--seconds",
    default=30.0,
    show_default=True,
    type=FiniteRange(min=0),
    help="Duration of the timing in seconds.",
)
def main(run: str, seconds: float) -> None:
    """Time a run's redirector and PRGAN's generator at its published size.

    Both models run in turns on one thread of a TFLite interpreter. The time of the redirector
    includes the warp. Every convolution of the redirector is also timed alone. For comparison, the
    command measures the speed of a float matrix product on this core.
    """
    try:
        redirector = models_of_run(open_run(run))["redirector"]
        click.echo(speed_text(measure_speed(redirector, seconds=seconds, progress=progress)))
    except MggrError as error:
        raise OneLineError(error) from error


if __name__ == "__main__":
    main()
