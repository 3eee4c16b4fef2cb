"""A model's convolutions, each a model of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tensorflow import keras


@dataclass(frozen=True)
class Convolution:
    """One convolution of a model.

    Attributes:
        name: of the layer, behind its branch's.
        model: that holds it alone, with one input `x` [B, H, W, C].
        mmac: million multiply-accumulates of one example.
    """

    name: str
    model: keras.Model
    mmac: float


def convolutions_of(model: keras.Model) -> tuple[Convolution, ...]:
    """All convolutions, those of nested models too, in order."""
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
