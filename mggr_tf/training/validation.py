"""Validation of a stage on held-out subjects during training.

A pair consists of two images of one person with different gazes. Each validation has one decisive
metric. This metric determines the best checkpoint and early stopping. Closing eyes are synthetic
eyes that are open, half closed or closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import estimator_inputs, gaze_from_network, image_to_network
from mggr_tf.config.stages import OF_GAZE, Stage
from mggr_tf.data.closing_eyes import behind_occluders
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import STATES, EyeSamples
from mggr_tf.evaluation.protocol import pair_inputs
from mggr_tf.evaluation.source_gaze import person_offsets
from mggr_tf.models.networks import Networks

_BATCH = 64
_OCCLUDED = 0.4
"""Probability that an object covers a part of an eye in the validation of the eye state.

Each eye can be covered by two objects. Each object has this probability.
"""

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Validated:
    """Result of one validation.

    Attributes:
        metric: name of the decisive metric. A smaller value is better.
        metrics: all metrics by name.
        outputs: outputs of the redirector for the first pairs: `flow` [B, H, W, 2] in pixels, and
            `residual` [B, H, W, 3]. The stage `coarse` has no `residual`. An estimator has no
            outputs.
    """

    metric: str
    metrics: dict[str, float]
    outputs: Outputs

    @property
    def value(self) -> float:
        """Value of the decisive metric."""
        return self.metrics[self.metric]


class Validation(Protocol):
    """Function that evaluates the current networks of a stage. It always uses the same pairs.

    The evaluation does not change the networks. For an estimator, the decisive metric is
    `error_deg`, the mean angle between prediction and label. Other metrics are:

    - `pitch_error_deg` and `yaw_error_deg`.
    - `openness_error`, `iris_visible_error` and `occlusion_error`, if the estimator predicts the
      eye state. These are mean absolute errors on closing eyes. Most of these eyes are partly
      covered by rendered objects.
    - The metrics of `portrait_errors`, if there are held-out photographs.

    For a redirector, the decisive metric is `l1`. It is the mean absolute difference between the
    redirected image and the real image with the target gaze. Pixels are in [-1, 1], as for the
    metric `l1` in the training log. The weights are the averaged weights. The stage `coarse` has
    the metric `l1_coarse` instead, which is the same difference for the coarse image.
    """

    def __call__(self) -> Validated: ...


def stage_validation(
    networks: Networks,
    stage: Stage,
    *,
    samples: EyeSamples,
    pairs: int,
    closing: EyeSamples | None = None,
    portraits: EyeSamples | None = None,
) -> Validation:
    """Return the function that validates a stage.

    The metrics depend only on the weights: The seed of the config determines the pairs, and the
    images are not augmented.

    Args:
        networks: networks of the run.
        stage: stage that is trained.
        samples: samples of held-out subjects.
        pairs: maximum number of pairs.
        closing: held-out samples of closing eyes, for an estimator that predicts the eye state.
        portraits: held-out photographs, for additional metrics of a gaze estimator.

    Raises:
        DataError: no two samples form a pair.
    """
    chosen = all_pairs(samples, limit=pairs, seed=networks.config.seed)
    conventions = networks.config.conventions
    if stage in OF_GAZE:
        model = getattr(networks, stage)
        behind = None
        if closing is not None:
            few = closing.first(2 * pairs)
            behind = behind_occluders(few, share=_OCCLUDED, seed=networks.config.seed)
        patches = np.unique(chosen)
        return _OfEstimator(
            model,
            samples,
            patches,
            conventions=conventions,
            closing=behind,
            portraits=portraits,
        )
    return _OfPictures(
        networks.averaged.joined,
        samples,
        chosen,
        conventions=conventions,
        picture="coarse" if stage == "coarse" else "redirected",
    )


class _OfEstimator:
    """Validation of an estimator on patches.

    The estimator may be the judge, which only measures the gaze error of redirected images.
    """

    def __init__(
        self,
        model: keras.Model,
        samples: EyeSamples,
        patches: NDArray[np.int64],
        *,
        conventions: Conventions,
        closing: EyeSamples | None,
        portraits: EyeSamples | None,
    ) -> None:
        self._samples, self._patches, self._conventions = samples, patches, conventions
        self._closing, self._portraits = closing, portraits
        self._forward = tf.function(
            lambda inputs: model(inputs, training=False), input_signature=[_specs(model)]
        )

    def __call__(self) -> Validated:
        seen = self._seen(self._samples, self._patches)
        seen_deg = gaze_from_network(seen["gaze"], self._conventions)
        true_deg = self._samples.gaze_deg[self._patches]
        off_deg = np.abs(seen_deg - true_deg).mean(axis=0)
        metrics = {
            "error_deg": float(angular_error_deg(seen_deg, true_deg).mean()),
            "pitch_error_deg": float(off_deg[0]),
            "yaw_error_deg": float(off_deg[1]),
        }
        if self._closing is not None:
            metrics |= self._state_errors(self._closing)
        if (photographed := self._portraits) is not None:
            seen = self._seen(photographed, np.arange(len(photographed)))
            metrics |= portrait_errors(
                gaze_from_network(seen["gaze"], self._conventions), photographed
            )
        return Validated("error_deg", metrics, {})

    def _state_errors(self, closing: EyeSamples) -> dict[str, float]:
        seen = self._seen(closing, np.arange(len(closing)))["state"]
        off = np.nanmean(np.abs(seen - closing.known_state()[0]), axis=0)
        return {f"{name}_error": float(off[place]) for place, name in enumerate(STATES)}

    def _seen(self, samples: EyeSamples, patches: NDArray[np.int64]) -> Outputs:
        """Return all outputs of the network for the given patches."""
        parts = []
        for rows in _batches(patches):
            inputs = estimator_inputs(
                samples.images[rows],
                head_deg=samples.head_deg[rows],
                conventions=self._conventions,
            )
            parts.append({name: np.asarray(o) for name, o in self._forward(inputs).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def portrait_errors(seen_deg: NDArray[np.float32], portraits: EyeSamples) -> dict[str, float]:
    """Return the errors of predicted gazes on photographs with known gaze; see `PersonOffsets`.

    Args:
        seen_deg: [N, 2] predicted gazes, degrees.
        portraits: N photographs with gaze labels.

    Returns:
        The metrics `portrait_error_deg`, `portrait_pitch_bias_deg` and `portrait_yaw_bias_deg`.
    """
    found = person_offsets(seen_deg, portraits)
    return {
        "portrait_error_deg": found.length_deg,
        "portrait_pitch_bias_deg": found.pitch_deg,
        "portrait_yaw_bias_deg": found.yaw_deg,
    }


class _OfPictures:
    """Validation of a redirector on pairs. It evaluates the output `redirected` or `coarse`."""

    def __init__(
        self,
        model: keras.Model,
        samples: EyeSamples,
        pairs: NDArray[np.int64],
        *,
        conventions: Conventions,
        picture: Literal["coarse", "redirected"],
    ) -> None:
        self._samples, self._pairs, self._conventions = samples, pairs, conventions
        self._metric = "l1" if picture == "redirected" else "l1_coarse"
        shown = ("flow", "residual") if picture == "redirected" else ("flow",)

        def forward(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            made = model({k: v for k, v in batch.items() if k != "target"}, training=False)
            off = tf.reduce_mean(tf.abs(made[picture] - batch["target"]), [1, 2, 3])
            # TensorFlow computes only the outputs that this function returns. For example, it skips
            # the fine branch in the stage `coarse`.
            return {"off": off, **{name: made[name] for name in shown}}

        specs = _specs(model)
        signature = [{**specs, "target": specs["eye"]}]
        self._forward = tf.function(forward, input_signature=signature)

    def __call__(self) -> Validated:
        first, *others = _batches(self._pairs)
        shown = self._asked(first)
        # Keep only the outputs of the first batch. The flows of thousands of pairs would need too
        # much memory.
        off = [shown.pop("off"), *(self._asked(pairs)["off"] for pairs in others)]
        value = float(np.concatenate(off).mean(dtype=np.float64))
        return Validated(self._metric, {self._metric: value}, shown)

    def _asked(self, pairs: NDArray[np.int64]) -> Outputs:
        batch = pair_inputs(self._samples, pairs, self._conventions)
        target = image_to_network(self._samples.images[pairs[:, 1]])
        made = self._forward({**batch, "target": target})
        return {name: np.asarray(value) for name, value in made.items()}


def _specs(model: keras.Model) -> dict[str, tf.TensorSpec]:
    """Return the specifications of a model's inputs for any batch size.

    Because of the specifications, TensorFlow does not trace the function again for the smaller last
    batch.
    """
    return {name: tf.TensorSpec(one.shape, one.dtype) for name, one in model.input.items()}


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
