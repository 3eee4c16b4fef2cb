"""Convert arrays to the tensors of the networks and back, and check these tensors.

The device and training use the same functions, so the scales are implemented only once.

A contract and its model files may match each other and still be unusable. For example, a network
may expect another patch size, or the file of the iris model may be listed as the face mesh.
`check_usable` reports these errors before the first eye is processed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.errors import BundleError
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.runtimes import FileRunner


def image_to_network(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert a uint8 image [..., 3] to float32 in [-1, 1]."""
    return image.astype(np.float32) / 127.5 - 1.0


def image_from_network(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert a float32 image to uint8: clip to [-1, 1], scale to [0, 255], and round."""
    return np.rint((np.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def redirector_inputs(
    images: NDArray[np.uint8],
    *,
    source_deg: ArrayLike,
    target_deg: ArrayLike,
    head_deg: ArrayLike,
    conventions: Conventions,
) -> dict[str, NDArray[np.float32]]:
    """Return the redirector's input tensors for patches of the canonical side.

    Args:
        images: [B, H, W, 3] uint8 RGB patches.
        source_deg, target_deg, head_deg: current gaze, target gaze and head pose, each as a [B, 2]
            array (pitch, yaw) in degrees.
        conventions: the conventions of the contract. They define the scales.

    Returns:
        Float32 arrays by the name of the input: `eye` [B, H, W, 3], `gazemap` [B, H, W, 2],
        `delta` [B, 2] and `head_pose` [B, 2].
    """
    source = np.asarray(source_deg, np.float32)
    target = np.asarray(target_deg, np.float32)
    return {
        "eye": image_to_network(images),
        "gazemap": draw_gazemap(
            target,
            size_px=conventions.patch_size,
            k=conventions.gazemap_k,
            edge_px=conventions.gazemap_edge_px,
        ),
        "delta": (target - source) / np.asarray(conventions.delta_scale_deg, np.float32),
        "head_pose": head_to_network(head_deg, conventions),
    }


def estimator_inputs(
    images: NDArray[np.uint8], *, head_deg: ArrayLike, conventions: Conventions
) -> dict[str, NDArray[np.float32]]:
    """Return the estimator's float32 input tensors: `eye` [B, H, W, 3] and `head_pose` [B, 2]."""
    return {"eye": image_to_network(images), "head_pose": head_to_network(head_deg, conventions)}


def gaze_from_network(gaze: NDArray[np.float32], conventions: Conventions) -> NDArray[np.float32]:
    """Convert the estimator's output [B, 2] to (pitch, yaw) in degrees."""
    return gaze * np.asarray(conventions.gaze_scale_deg, np.float32)


def head_to_network(head_deg: ArrayLike, conventions: Conventions) -> NDArray[np.float32]:
    """Convert head angles [B, 2] from degrees to the scale of the networks."""
    return np.asarray(head_deg, np.float32) / np.float32(conventions.head_pose_scale_deg)


@dataclass(frozen=True)
class EyeState:
    """State of one eye, for example from the output `state` of the estimator.

    Attributes:
        openness: greatest distance between the lids divided by the distance between the eye's
            corners. The value is clipped to [0, 1]. An open eye has a value of about 0.25 to 0.4,
            and a closed eye has the value 0.
        iris_visible: fraction of the iris disc that is between the lids, in [0, 1].
        occlusion: fraction of the area between the lids that other objects cover, in [0, 1].
            Examples are fingers, hair, a spectacle frame or glare. For a closed eye, the value is
            the covered fraction of the lids around the eye.
    """

    openness: float
    iris_visible: float
    occlusion: float

    @classmethod
    def from_array(cls, state: ArrayLike) -> EyeState:
        """Create a state from a [3] array (openness, iris_visible, occlusion).

        The values are clipped to [0, 1].
        """
        openness, iris_visible, occlusion = np.clip(np.asarray(state, np.float64), 0.0, 1.0)
        return cls(float(openness), float(iris_visible), float(occlusion))


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensors:
    """The float32 tensors of one network; their shapes do not contain the batch dimension.

    Attributes:
        inputs: name of each input -> its shape. The network must have exactly these inputs, because
            the caller provides only these inputs.
        outputs: name of each required output -> number of its values. The network may have more
            outputs.
        optional: name of each optional output -> number of its values.
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
    """Return the expected inputs and outputs of each network of the device, by model name."""
    side = conventions.patch_size
    eye, head = {"eye": (side, side, 3)}, {"head_pose": (2,)}
    return {
        "redirector": Tensors(
            {**eye, **head, "gazemap": (side, side, 2), "delta": (2,)},
            {"flow": 2 * side**2, "residual": 3 * side**2, "redirected": 3 * side**2},
            {"alpha": side**2},
        ),
        "estimator": Tensors({**eye, **head}, {"gaze": 2}, {"state": 3}),
        **_LANDMARKS,
    }


def check_usable(name: str, runner: FileRunner, conventions: Conventions) -> None:
    """Check that the tensors of a model are those that the device code expects.

    Args:
        name: the name of the model. Models with unknown names are not checked.
        runner: the model.
        conventions: the conventions of the contract. They define the tensor shapes.

    Raises:
        BundleError: a tensor is missing or unexpected, or has another shape or dtype.
    """
    wanted = tensors_of(conventions).get(name)
    if wanted is None:
        return
    inputs = {one.name: one for one in runner.tensor_specs("inputs")}
    outputs = {one.name: one for one in runner.tensor_specs("outputs")}
    shapes = {key: one.shape[1:] for key, one in inputs.items()}
    if shapes != wanted.inputs:
        raise BundleError(
            f"the model {name} has the inputs {shapes}, expected {wanted.inputs}",
            code="model-inputs-wrong",
            model=name,
            found=shapes,
            expected=wanted.inputs,
        )
    batches = {one.shape[0] for one in inputs.values()}
    if len(batches) > 1 or min(batches) < 1:
        raise BundleError(
            f"the inputs of the model {name} have the batch sizes {sorted(batches)}, expected one "
            "size of at least 1",
            code="model-batch-sizes-wrong",
            model=name,
            found=sorted(batches),
        )
    batch = batches.pop()
    read = {**wanted.outputs, **{k: n for k, n in wanted.optional.items() if k in outputs}}
    for key, count in read.items():
        found = prod(outputs[key].shape) if key in outputs else 0
        if found != batch * count:
            raise BundleError(
                f"the output {key} of the model {name} has {found} values, expected "
                f"{batch * count}",
                code="model-output-size-wrong",
                model=name,
                output=key,
                found=found,
                expected=batch * count,
            )
    for one in (*inputs.values(), *(outputs[key] for key in read)):
        if one.dtype != "float32":
            raise BundleError(
                f"the tensor {one.name} of the model {name} has the dtype {one.dtype}, expected "
                "float32",
                code="model-dtype-wrong",
                model=name,
                tensor=one.name,
                found=one.dtype,
                expected="float32",
            )
