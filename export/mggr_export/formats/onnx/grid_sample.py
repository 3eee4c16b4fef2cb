"""The warp as ONNX' own `GridSample` [1].

While a model is traced for ONNX, its warps are marker ops; the converter asks here what to
write in their place.

References:
    [1] ONNX operators, GridSample, opset 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mggr_tf.models.warp import Interpolation

OPSET = 17
"""The highest that TensorRT 8.5 reads; GridSample is there from 16 on."""

_MARKER = "PyFuncStateless"


def marked_warp(image: tf.Tensor, flow: tf.Tensor, interpolation: Interpolation) -> tf.Tensor:
    """Stands for a warp in a graph that is converted, never run."""

    def never_run(image: Any, flow: Any) -> Any:
        raise AssertionError("a warp's marker is for conversion")

    with tf.name_scope(f"grid_sample_{interpolation}"):
        made = tf.numpy_function(never_run, [image, flow], tf.float32, stateful=False)
    return tf.ensure_shape(made, image.shape)


def handlers() -> dict[str, tuple[Any, list[Any]]]:
    """What tf2onnx takes as `custom_op_handlers`."""
    return {_MARKER: (_write_grid_sample, [])}


def _write_grid_sample(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
    """Replaces a marker by Mul, Add, Transpose, GridSample, Transpose.

    `GridSample` takes pictures as NCHW and places in [-1, 1], which with `align_corners`
    are the centres of the outermost pixels: the marker's flow, in pixels, is scaled and
    added to every pixel's own place.
    """
    image, flow = node.input
    shape = ctx.get_shape(image)
    _, height, width, _ = shape
    scale = np.array([2 / (width - 1), 2 / (height - 1)], np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    places = np.stack([x, y], -1)[None] * scale - np.float32(1)
    interpolation = "bicubic" if "grid_sample_bicubic" in name else "bilinear"
    dtype = ctx.get_dtype(image)
    channels_first = [shape[0], shape[3], height, width]
    ctx.remove_node(name)

    def add(kind: str, inputs: list[str], size: list[int], **attributes: Any) -> str:
        made = ctx.make_node(
            kind,
            inputs,
            attr=attributes,
            name=f"{name}/{kind}_{len(ctx.get_nodes())}",
            shapes=[size],
            dtypes=[dtype],
        )
        return str(made.output[0])

    scales = ctx.make_const(f"{name}/scale", scale).output[0]
    own_places = ctx.make_const(f"{name}/places", places).output[0]
    offsets = add("Mul", [flow, scales], ctx.get_shape(flow))
    grid = add("Add", [offsets, own_places], ctx.get_shape(flow))
    picture = add("Transpose", [image], channels_first, perm=[0, 3, 1, 2])
    warped = add(
        "GridSample",
        [picture, grid],
        channels_first,
        mode=interpolation,
        padding_mode="border",
        align_corners=1,
    )
    ctx.make_node(
        "Transpose",
        [warped],
        attr={"perm": [0, 2, 3, 1]},
        name=name,
        outputs=[node.output[0]],
        shapes=[shape],
        dtypes=[dtype],
    )
