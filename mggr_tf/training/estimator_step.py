"""Training step of gaze estimators: the estimator that devices run, and the judge."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.stages import NEEDS_DIFFERENCE, NEEDS_LANDMARKS, NEEDS_STATE, StageConfig
from mggr_tf.data.rows import Batch, Metrics
from mggr_tf.data.schema import STATES
from mggr_tf.models.blocks import EXACT, Precision
from mggr_tf.models.critics import with_landmarks
from mggr_tf.training.optimizer import adam, apply, optimizer_state, scale_metrics

_SURE = 1e-5
"""Predicted states are clipped to this distance from 0 and 1."""


class EstimatorStep:
    """Training step of an estimator: gaze regression with a Huber loss, plus optional losses.

    The optional losses in the config are:

    - `landmarks`: the positions of the eye's landmarks. Park et al. learned landmarks from
      synthetic eyes to estimate gaze in photographs ("Learning to Find Eye Region Landmarks",
      2018).
    - `state`: the state of the eye, with a cross-entropy that is reduced by its minimum.
    - `gaze_difference`: the gaze difference within a pair of images of one person. An estimator
      that is uncertain about a person is biased towards the mean gaze, so its predictions vary
      too little when that person's gaze changes.

    A batch contains pairs from `data.pairs.pair_dataset`, of which both eyes are used, or single
    eyes with these names:

    - eye [B, H, W, 3] in [-1, 1] and head_pose [B, 2] in network units;
    - gaze [B, 2] in degrees;
    - gaze_weight [B], optional: weight of each row's losses on gaze and landmarks. The default is
      1; it is 0 for an eye without a gaze label;
    - landmarks [B, K, 2] in pixels, for that loss; NaN for an unknown point;
    - state [B, 3], for that loss; NaN for an unknown value.

    In a batch of pairs, all names except eye, target and head_pose have the prefix `source_` or
    `target_`. Each loss is a mean over all rows, and unknown values have a loss of 0. Therefore
    several devices that share a batch compute the same loss as one device.

    Args:
        model: estimator or judge.
        config: config of the stage.
        gaze_scale_deg: (pitch, yaw) in degrees for an output of 1.
        landmarks: number of landmarks if a loss uses them, else 0.
        learner: model to train instead of `model`, usually the same network in another precision;
            `model` gets its weights after each step. None trains `model`.
        precision: precision of the learner.
        total: [] int64 variable with the number of steps.
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
        """Train on one replica's batch; see `Step`."""
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
        """Return the objects for checkpoints; see `Step`."""
        return {
            "model": self._taught,
            **optimizer_state("optimizer", self._optimizer),
            **({} if self._model is self._learner else {"asked": self._model}),
        }

    def _take_over(self, strategy: tf.distribute.Strategy) -> None:
        for ours, theirs in zip(self._model.variables, self._learner.variables, strict=True):
            strategy.extended.update(ours, _assign, args=(theirs,))


def single_eyes(batch: Batch) -> dict[str, tf.Tensor]:
    """Return the rows of a batch of pairs or of single eyes, with the names of `EstimatorStep`.

    Both eyes of a pair are adjacent rows, so that the concatenated rows of several replicas equal
    the rows on a single device.
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
    """Return the loss on gaze differences within pairs, [].

    Args:
        seen: [2 B, 2] predicted gazes, network units; both rows of a pair are adjacent.
        gaze: [2 B, 2] true gazes, network units.
        counts: [2 B] weights of the rows.
    """
    asked, answered = gaze[::2] - gaze[1::2], seen[::2] - seen[1::2]
    both_count = tf.minimum(counts[::2], counts[1::2])
    return tf.reduce_mean(both_count * keras.losses.huber(asked, answered, delta=0.5))


def _landmark_miss(seen: tf.Tensor, eyes: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the loss on landmarks, [], and the weighted mean error in pixels, [].

    Args:
        seen: [B, K, 2] predicted landmarks, relative to the patch's centre, in units of 1/8 of the
            patch size.
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
    """Return the loss on the eye state, [], and the mean absolute errors of known values, [3].

    Args:
        seen: [B, 3] predicted state.
        state: [B, 3] true state, NaN where unknown.
    """
    known, right = _known(state, seen)
    loss = _cross_entropy(right, seen) - _cross_entropy(right, right)
    counts = tf.cast(known, tf.float32)
    return tf.reduce_mean(counts * loss), _mean_of(tf.abs(seen - right), counts)


def _cross_entropy(right: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    seen = tf.clip_by_value(seen, _SURE, 1 - _SURE)
    return -right * tf.math.log(seen) - (1 - right) * tf.math.log(1 - seen)


def _known(values: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a mask of the values that are not NaN, and the values with NaN replaced by `seen`."""
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
    """Interleave [B, ...] tensors to [2 B, ...]: source and target of the first pair, and so on."""
    both = tf.stack([sources, targets], 1)
    return tf.reshape(both, [2 * both.shape[0], *both.shape[2:]])
