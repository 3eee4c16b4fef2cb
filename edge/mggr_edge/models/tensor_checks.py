"""Which tensors the device feeds each network, and which it reads of it.

A contract may promise, and a file hold, what nobody here can use: a network of another patch, or
the iris model in the mesh's place. That is reported before the first eye is processed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from mggr_edge.errors import BundleError
from mggr_edge.models.contract import Conventions
from mggr_edge.models.runtimes import FileRunner

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensors:
    """Of one network, each of float32 and without its batch.

    Attributes:
        inputs: name -> shape; no others, which nobody would feed.
        outputs: name -> how many numbers; others may be there.
        optional: outputs that need not be there, likewise.
    """

    inputs: dict[str, Shape]
    outputs: dict[str, int]
    optional: dict[str, int] = field(default_factory=dict)


_LANDMARKS = {
    "face_detector": Tensors(
        {"input": (192, 192, 3)},
        {"reshaped_regressor_face_4": 2304 * 16, "reshaped_classifier_face_4": 2304},
    ),
    "face_mesh": Tensors({"input_1": (192, 192, 3)}, {"conv2d_20": 468 * 3, "conv2d_30": 1}),
    "iris": Tensors(
        {"input_1": (64, 64, 3)},
        {"output_eyes_contours_and_brows": 71 * 3, "output_iris": 5 * 3},
    ),
}


def tensors_of(conventions: Conventions) -> dict[str, Tensors]:
    """What every network that a device runs takes and gives, by the model's name."""
    side = conventions.patch_size
    eye, head = {"eye": (side, side, 3)}, {"head_pose": (2,)}
    return {
        "redirector": Tensors(
            {**eye, **head, "gazemap": (side, side, 2), "delta": (2,)},
            {"flow": 2 * side**2, "residual": 3 * side**2, "redirected": 3 * side**2},
        ),
        "estimator": Tensors({**eye, **head}, {"gaze": 2}, {"state": 3}),
        **_LANDMARKS,
    }


def check_usable(name: str, runner: FileRunner, conventions: Conventions) -> None:
    """Refuses a model that cannot be fed by these conventions, or gives something else.

    Raises:
        BundleError: a tensor is missing, too many, or of another shape or type.
    """
    wanted = tensors_of(conventions).get(name)
    if wanted is None:
        return
    inputs = {one.name: one for one in runner.tensor_specs("inputs")}
    outputs = {one.name: one for one in runner.tensor_specs("outputs")}
    shapes = {key: one.shape[1:] for key, one in inputs.items()}
    if shapes != wanted.inputs:
        raise BundleError(f"the model {name} takes {shapes}, expected {wanted.inputs}")
    batches = {one.shape[0] for one in inputs.values()}
    if len(batches) > 1 or min(batches) < 1:
        raise BundleError(f"the model {name} takes batches of {sorted(batches)} at once")
    batch = batches.pop()
    read = {**wanted.outputs, **{k: n for k, n in wanted.optional.items() if k in outputs}}
    for key, count in read.items():
        found = prod(outputs[key].shape) if key in outputs else 0
        if found != batch * count:
            raise BundleError(
                f"the model {name} gives {found} numbers of {key}, expected {batch * count}"
            )
    for one in (*inputs.values(), *(outputs[key] for key in read)):
        if one.dtype != "float32":
            raise BundleError(f"the model {name}: {one.name} is of {one.dtype}, expected float32")
