"""Training step of gaze estimators.

There are two estimators: the estimator that devices run, and the judge. The judge is a second
estimator, which only measures the gaze error of redirected images.

A row is one eye in a batch. A pair consists of two images of one person with different gazes. An
angle in network units is the angle in degrees, divided by a scale from the config.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.stages import NEEDS_DIFFERENCE, NEEDS_LANDMARKS, NEEDS_STATE, StageConfig
from mggr_tf.data.rows import Batch, Metrics
from mggr_tf.data.schema import STATES
from mggr_tf.models.critics import with_landmarks
from mggr_tf.models.precision import EXACT, Precision
from mggr_tf.training.optimizer import adam, apply, optimizer_state, scale_metrics

_SURE = 1e-5
"""Predicted states are clipped to the range from `_SURE` to 1 - `_SURE`."""


class EstimatorStep:
    """Training step of an estimator. The gaze always has a Huber loss.

    The config can add these losses:

    - `landmarks`: error of the predicted landmarks of the eye. Park et al. used landmarks of
      synthetic eyes to learn gaze estimation in photographs ("Learning to Find Eye Region
      Landmarks", 2018).
    - `state`: cross-entropy of the predicted eye state. The entropy of the label is subtracted, so
      that the loss of a correct prediction is 0.
    - `gaze_difference`: error of the predicted gaze difference between the two images of a pair. If
      an estimator is uncertain about a person, its predictions are biased towards the mean gaze.
      The predictions then change less than the gaze of this person. The loss reduces this bias.

    A batch contains either pairs from `data.pairs.pair_dataset` or single eyes. Both images of a
    pair are used. A batch of single eyes contains these tensors:

    - `eye` [B, H, W, 3] in [-1, 1].
    - `head_pose` [B, 2] in network units.
    - `gaze` [B, 2] in degrees.
    - `gaze_weight` [B], optional: weight of the row in the losses on gaze and landmarks. The
      default is 1. The weight is 0 for an eye without a gaze label.
    - `landmarks` [B, K, 2], only for the loss `landmarks`: positions (x, y) in pixels. An unknown
      point is NaN.
    - `state` [B, 3], only for the loss `state`: eye state; see `STATES`. An unknown value is NaN.

    In a batch of pairs, all names except `eye`, `target` and `head_pose` have the prefix `source_`
    or `target_`. Each loss is a mean over all rows. Unknown values have a loss of 0. Therefore
    several devices that share a batch compute the same loss as a single device.

    Args:
        model: estimator or judge.
        config: config of the stage.
        gaze_scale_deg: (pitch, yaw) in degrees that correspond to an output of 1.
        landmarks: number of landmarks if a loss uses landmarks, otherwise 0.
        learner: model to train instead of `model`, usually the same network in another precision.
            After each step, the weights of the learner are copied to `model`. If the learner is
            `None`, `model` itself is trained.
        precision: precision of the learner.
        total: [] int64 variable with the total number of steps.
        replicas: number of devices that share a batch.
    """

    def __init__(
        self,
        model: keras.Model,
        config: StageConfig,
        *,
        gaze_scale_deg: tuple[float, float],
        landmarks: int = 0,
        learner: keras.Model | None = None,
        precision: Precision = EXACT,
        total: tf.Variable,
        replicas: int,
    ) -> None:
        self._model, self._learner = model, model if learner is None else learner
        self._taught = with_landmarks(self._learner, landmarks) if landmarks else self._learner
        self._landmarks_weight = _weight(config, NEEDS_LANDMARKS) if landmarks else 0.0
        self._state_weight = _weight(config, NEEDS_STATE)
        self._difference_weight = _weight(config, NEEDS_DIFFERENCE)
        self._scale = tf.constant(gaze_scale_deg)
        self._replicas = replicas
        self._optimizer = adam(
            config.learning_rate, total, self._taught.trainable_variables, precision=precision
        )

    def __call__(self, batch: Batch, /) -> Metrics:
        """Train on the part of a batch that one device processes; see `Step`."""
        eyes = single_eyes(batch)
        gaze, counts = eyes["gaze"] / self._scale, eyes["gaze_weight"]
        metrics: Metrics = {}
        with tf.GradientTape() as tape:
            inputs = {"eye": eyes["eye"], "head_pose": eyes["head_pose"]}
            seen = self._taught(inputs, training=True)
            off = keras.losses.huber(gaze, seen["gaze"], delta=0.5)
            loss = tf.reduce_mean(counts * off)
            if self._difference_weight and "target" in batch:
                loss += self._difference_weight * _difference_miss(seen["gaze"], gaze, counts)
            if self._landmarks_weight:
                miss, off_px = _landmark_miss(seen["landmarks"], eyes)
                loss += self._landmarks_weight * miss
                metrics["landmark_error_px"] = off_px
            if self._state_weight:
                miss, off = _state_miss(seen["state"], eyes["state"])
                loss += self._state_weight * miss
                metrics |= {f"{name}_error": off[place] for place, name in enumerate(STATES)}
            loss /= self._replicas
        apply(self._optimizer, tape, loss, self._taught.trainable_variables)
        if self._model is not self._learner:
            tf.distribute.get_replica_context().merge_call(self._take_over)
        off_deg = _mean_of(tf.abs(seen["gaze"] - gaze) * self._scale, counts[:, None])
        metrics = {"pitch_error_deg": off_deg[0], "yaw_error_deg": off_deg[1], **metrics}
        return {
            "loss": loss,
            **{name: value / self._replicas for name, value in metrics.items()},
            **scale_metrics(self._optimizer, replicas=self._replicas),
        }

    def state(self) -> dict[str, Any]:
        """Return the objects that a checkpoint must contain; see `Step`."""
        return {
            "model": self._taught,
            **optimizer_state("optimizer", self._optimizer),
            **({} if self._model is self._learner else {"asked": self._model}),
        }

    def _take_over(self, strategy: tf.distribute.Strategy) -> None:
        for ours, theirs in zip(self._model.variables, self._learner.variables, strict=True):
            strategy.extended.update(ours, _assign, args=(theirs,))


def single_eyes(batch: Batch) -> dict[str, tf.Tensor]:
    """Convert any batch to a batch of single eyes. `EstimatorStep` lists the names of the tensors.

    The two images of a pair become adjacent rows. Therefore the rows of all devices together have
    the same order as on a single device.
    """
    if "target" not in batch:
        eyes = dict(batch)
    else:
        eyes = {
            "eye": _in_turn(batch["eye"], batch["target"]),
            "head_pose": _in_turn(batch["head_pose"], batch["head_pose"]),
        }
        for name in ("gaze", "gaze_weight", "landmarks", "state"):
            if f"source_{name}" in batch:
                eyes[name] = _in_turn(batch[f"source_{name}"], batch[f"target_{name}"])
    eyes.setdefault("gaze_weight", tf.ones_like(eyes["gaze"][:, 0]))
    return eyes


def _difference_miss(seen: tf.Tensor, gaze: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Return the loss `gaze_difference`, [].

    Args:
        seen: [2 B, 2] predicted gazes, network units. The two rows of a pair are adjacent.
        gaze: [2 B, 2] true gazes, network units.
        counts: [2 B] weights of the rows.
    """
    asked, answered = gaze[::2] - gaze[1::2], seen[::2] - seen[1::2]
    both_count = tf.minimum(counts[::2], counts[1::2])
    return tf.reduce_mean(both_count * keras.losses.huber(asked, answered, delta=0.5))


def _landmark_miss(seen: tf.Tensor, eyes: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the loss `landmarks`, [], and the weighted mean error of the landmarks in pixels, [].

    Args:
        seen: [B, K, 2] predicted landmarks, relative to the centre of the patch. The unit is 1/8 of
            the patch size.
        eyes: rows with `eye`, `landmarks` and `gaze_weight`.
    """
    size_px = eyes["eye"].shape[1]
    unit_px = size_px / 8
    known, points_px = _known(eyes["landmarks"], seen)
    where = tf.where(known, (points_px - (size_px - 1) / 2) / unit_px, seen)
    counts = eyes["gaze_weight"][:, None]
    miss = tf.reduce_mean(counts * keras.losses.huber(where, seen, delta=0.5))
    counts = counts[..., None] * tf.cast(known, tf.float32)
    off = _mean_of(tf.abs(where - seen), counts)
    return miss, unit_px * tf.reduce_mean(off)


def _state_miss(seen: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the loss `state`, [], and the mean absolute errors of the known values, [3].

    Args:
        seen: [B, 3] predicted state.
        state: [B, 3] true state. Unknown values are NaN.
    """
    known, right = _known(state, seen)
    loss = _cross_entropy(right, seen) - _cross_entropy(right, right)
    counts = tf.cast(known, tf.float32)
    return tf.reduce_mean(counts * loss), _mean_of(tf.abs(seen - right), counts)


def _cross_entropy(right: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    seen = tf.clip_by_value(seen, _SURE, 1 - _SURE)
    return -right * tf.math.log(seen) - (1 - right) * tf.math.log(1 - seen)


def _known(values: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a mask of the known values, and the values with each NaN replaced by `seen`."""
    known = tf.math.logical_not(tf.math.is_nan(values))
    return known, tf.where(known, values, tf.stop_gradient(seen))


def _mean_of(values: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Return the weighted mean over the first axis; 0 if all weights are 0."""
    counts = tf.broadcast_to(counts, tf.shape(values))
    return tf.math.divide_no_nan(tf.reduce_sum(counts * values, 0), tf.reduce_sum(counts, 0))


def _weight(config: StageConfig, names: frozenset[str]) -> float:
    return sum(loss.weight for loss in config.active if loss.name in names)


def _assign(variable: tf.Variable, value: tf.Variable) -> None:
    variable.assign(tf.convert_to_tensor(value))


def _in_turn(sources: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Interleave sources [B, ...] and targets [B, ...]. The result has the shape [2 B, ...].

    The order of the result is: source 0, target 0, source 1, target 1, and so on.
    """
    both = tf.stack([sources, targets], 1)
    return tf.reshape(both, [2 * both.shape[0], *both.shape[2:]])
