"""Whose an op of a step is: its name holds the network, or the scope, that it was traced in."""

from __future__ import annotations

_BACKWARD = "gradient_tape"

PARTS = {
    "coarse_branch": "coarse branch",
    "fine_branch": "fine branch",
    "fine_warp": "fine warp",
    "generator": "generator",
    "discriminator": "discriminator",
    "taught_estimator": "estimator",
    "estimator": "estimator",
    "estimator_features": "estimator",
    "judge": "judge",
    "alexnet": "AlexNet",
    "vgg16_features": "VGG-16",
    "efficientnet": "EfficientNet",
    "warp": "warp",
    "coarse_warp": "warp",
    "random_view": "random views",
    "Adam": "optimizers",
    "moving_average": "moving averages",
}
"""Name of a model, layer or scope -> what it is called in tables."""

REST = "losses and the rest"


def part_of(name: str) -> str:
    """Whose an op is, by its name; the outermost known place decides."""
    known = (PARTS[place] for place in name.split("/")[:-1] if place in PARTS)
    return next(known, REST)


def is_backward(name: str) -> bool:
    """Whether an op is part of the way back."""
    return _BACKWARD in name.split("/")
