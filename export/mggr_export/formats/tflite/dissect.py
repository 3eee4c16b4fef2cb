"""A TFLite int8 file with each layer's outputs, for `explain`."""

from __future__ import annotations

from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.runner import cut
from mggr_edge.models.runtimes.tflite import interpreter_class
from mggr_export.arrays import Arrays
from mggr_export.formats.dissection import Dissection
from mggr_export.formats.freeze import SIGNATURE, freeze
from mggr_export.formats.tflite.convert import Calibrated
from mggr_export.formats.tflite.graph import CONVOLUTIONS, read_graph


def dissect(model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
    """Calibrates once more; every variant is quantised from there."""
    calibrated = Calibrated(freeze(model, batch=batch), calibration, batch=batch)
    return Dissection(
        quantised=calibrated.quantised(),
        reference=calibrated.content,
        layers=tuple(_layers(calibrated.content)),
        spared=lambda layer: calibrated.quantised(but=layer),
        runner=lambda content: open_file(content, "tflite"),
        outputs=_outputs,
    )


def _layers(content: bytes) -> dict[str, int]:
    """What the layers' output tensors are called, and which they are."""
    graph = read_graph(content)
    indices = [op.outputs[0] for op in graph.ops if op.kind in CONVOLUTIONS]
    return {graph.tensors[index].name: index for index in indices}


def _outputs(content: bytes, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    # The device's own interpreter: TensorFlow 2.15's writes over what it was asked to keep.
    of_runtime = interpreter_class(None)
    resolvers = import_module(of_runtime.__module__).OpResolverType
    interpreter = of_runtime(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner(SIGNATURE)
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    layers = _layers(content)
    batch = next(iter(run.get_input_details().values()))["shape"][0]
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in layers}
    for example in cut(inputs, int(batch)):
        run(**example)
        for name, index in layers.items():
            scale, zero = details[index]["quantization"]
            value = interpreter.get_tensor(index).astype(np.float32)
            parts[name].append((value - zero) * scale if scale else value)
    return {name: np.concatenate(values) for name, values in parts.items()}
