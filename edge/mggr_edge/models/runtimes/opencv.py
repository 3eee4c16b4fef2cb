"""Run ONNX models and the face models with the module `dnn` of OpenCV.

The device uses OpenCV for images, so it is installed on every device. Version 5 or later can also
run the models. Therefore this runtime works on systems for which neither LiteRT nor ONNX Runtime
has a wheel.

OpenCV reads no tensor specs from a model file. Therefore the caller passes them, and the shapes are
checked with a first call.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import BundleError
from mggr_edge.models.contract import Format, TensorSpec
from mggr_edge.models.runtimes.runner import Kind, check_inputs, closed_model

NAME = "opencv"
WHAT = "OpenCV 5"

_OLDEST = 5
_dnn: Any = cv2.dnn  # The type hints of OpenCV 4 lack the engines of OpenCV 5.


def available() -> dict[str, str]:
    """Return {name: version} if the installed OpenCV can run models; otherwise return {}."""
    major = cv2.__version__.split(".")[0]
    return {NAME: cv2.__version__} if major.isdigit() and int(major) >= _OLDEST else {}


class OpenCVRunner:
    """A `Runner` that runs a model with OpenCV.

    A network cannot run two calls at the same time. A lock makes the second call wait. All calls
    use OpenCV's number of threads, `cv2.getNumThreads()`.

    Args:
        content: the bytes of the model file.
        file_format: `onnx` or `tflite`. OpenCV supports the operations of the face models, but not
            all operations of other TFLite models.
        inputs, outputs: the specs of the model's tensors.

    Raises:
        BundleError: OpenCV cannot load or run the bytes as a model, or the shapes of its outputs
            differ from the specs.
    """

    def __init__(
        self,
        content: bytes,
        file_format: Format,
        *,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        read = _read_onnx if file_format == "onnx" else _read_tflite
        # TFLite files have the channels last. OpenCV converts their tensors to channels first.
        self._are_channels_last = file_format == "tflite"
        self._inputs = tuple(sorted(inputs, key=lambda one: one.name))
        self._outputs = tuple(sorted(outputs, key=lambda one: one.name))
        self._lock = threading.Lock()
        try:
            self._net = read(np.frombuffer(content, np.uint8))
            made = self._run({one.name: np.zeros(one.shape, one.dtype) for one in self._inputs})
        except (cv2.error, ValueError) as error:
            reason = " ".join(str(error).split())
            raise BundleError(
                f"OpenCV {cv2.__version__} cannot load the model: {reason}",
                code="opencv-model-not-loadable",
                reason=reason,
            ) from error
        for one in self._outputs:
            if made[one.name].shape != one.shape:
                raise BundleError(
                    f"the output {one.name} of the model has the shape {made[one.name].shape}, "
                    f"expected {one.shape}; export the bundle again",
                    code="opencv-output-shape-wrong",
                    output=one.name,
                    expected=one.shape,
                    found=made[one.name].shape,
                )

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        check_inputs(inputs, self._inputs)
        with self._lock:
            if self._net is None:
                raise closed_model()
            return self._run(inputs)

    def _run(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        for name, value in inputs.items():
            is_moved = self._are_channels_last and value.ndim == 4
            value = value.transpose(0, 3, 1, 2) if is_moved else value
            # A TFLite model has one input. OpenCV does not keep its name.
            named = () if self._are_channels_last else (name,)
            self._net.setInput(np.ascontiguousarray(value), *named)
        names = [one.name for one in self._outputs]
        made = self._forward_each(names) if self._are_channels_last else self._net.forward(names)
        return {
            spec.name: self._converted(one) for spec, one in zip(self._outputs, made, strict=True)
        }

    def _forward_each(self, names: Sequence[str]) -> list[NDArray]:
        """Run the network once per output: of a TFLite model, OpenCV returns one output per run."""
        return [self._net.forward(name).copy() for name in names]

    def _converted(self, value: NDArray) -> NDArray:
        """Return a copy of an output, with the channels last. OpenCV reuses the memory."""
        is_moved = self._are_channels_last and value.ndim == 4
        return np.array(value.transpose(0, 2, 3, 1) if is_moved else value)

    def close(self) -> None:
        """Release the network; see `FileRunner.close`."""
        with self._lock:
            self._net = None

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Return the specs of the model's inputs or outputs, sorted by name."""
        return self._inputs if kind == "inputs" else self._outputs


def _read_onnx(content: NDArray[np.uint8]) -> Any:
    # The older engine of OpenCV 5 computes wrong gazes, with errors of up to 0.3 network units.
    return _dnn.readNetFromONNX(content, _dnn.ENGINE_NEW)


def _read_tflite(content: NDArray[np.uint8]) -> Any:
    return _dnn.readNetFromTFLite(content)
