"""How fast this core multiplies float matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from mggr_edge.models.runtimes.onnx import OnnxRunner

_SIDE = 768


def matrix_product() -> tuple[Callable[[], object], float]:
    """A product of two square float32 matrices on one thread, by ONNX Runtime.

    Its kernels use the widest instructions that the processor has, which a BLAS that was
    built for another one may not.

    Returns:
        the product, to be timed; its million multiply-accumulates.
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
