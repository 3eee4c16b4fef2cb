"""The training step of gaze estimators: the one that devices run, and the judge."""

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
"""No predicted state counts as nearer to 0 or 1 than this."""


class EstimatorStep:
    """Regresses gaze (Huber loss, network units), and what else the config's losses ask for.

    With a loss `landmarks`, also where the eye's landmarks lie, which Park et al. learned from
    drawn eyes to read gaze off photographs ("Learning to Find Eye Region Landmarks", 2018). With
    a loss `state`, also the state of the eye, by cross-entropy above its least possible value. With
    a loss `gaze_difference`, also the difference of the gazes of a pair, which shows one person: an
    estimator that is unsure about a person answers nearer to the middle of all gazes, and its
    answers then follow that person's eyes by too little.

    A batch holds pairs, as `data.pairs.pair_dataset` makes them, of which both eyes are trained
    on; or single eyes, by these names:

    - eye [B, H, W, 3] in [-1, 1] and head_pose [B, 2] in network units;
    - gaze [B, 2] in degrees;
    - gaze_weight [B], optional: what each row's losses on gaze and landmarks are multiplied
      with; 1 where it is left out, 0 for an eye of which nobody knows where it looks;
    - landmarks [B, K, 2] in pixels, with that loss; NaN for a point that is unknown;
    - state [B, 3], with that loss; NaN for a value that is unknown.

    In a batch of pairs the same names have `source_` and `target_` before them, but for eye, target
    and head_pose. Every loss is a mean over all rows: what is unknown counts as a loss of 0, so
    that devices that share a batch agree with one that has all of it.

    Args:
        model: estimator or judge.
        config: the stage's.
        gaze_scale_deg: (pitch, yaw) that 1 at the output stands for.
        landmarks: how many there are, where a loss asks for them.
        learner: what is trained in the model's place, which takes over its weights after every
            step: a twin that computes in another precision.
        precision: the learner's.
        total: variable that holds the number of steps.
        replicas: how many devices share a batch.
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
        """See `Step`."""
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
        """See `Step`."""
        return {
            "model": self._taught,
            **optimizer_state("optimizer", self._optimizer),
            **({} if self._model is self._learner else {"asked": self._model}),
        }

    def _take_over(self, strategy: tf.distribute.Strategy) -> None:
        for ours, theirs in zip(self._model.variables, self._learner.variables, strict=True):
            strategy.extended.update(ours, _assign, args=(theirs,))


def single_eyes(batch: Batch) -> dict[str, tf.Tensor]:
    """The rows of a batch of pairs or of single eyes, by the names of `EstimatorStep`.

    Both eyes of a pair follow each other, so that the rows of several replicas, one after the
    other, are those that one device has.
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
    """[] the loss on differences within pairs, whose rows [2 B, 2] follow each other."""
    asked, answered = gaze[::2] - gaze[1::2], seen[::2] - seen[1::2]
    both_count = tf.minimum(counts[::2], counts[1::2])
    return tf.reduce_mean(both_count * keras.losses.huber(asked, answered, delta=0.5))


def _landmark_miss(seen: tf.Tensor, eyes: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """[] the loss, and [] the mean error in pixels of what counts.

    Args:
        seen: [B, K, 2] from the patch's middle, in eighths of its side.
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
    """[] the loss, and [3] the mean absolute errors of what is known.

    Args:
        seen, state: [B, 3].
    """
    known, right = _known(state, seen)
    loss = _cross_entropy(right, seen) - _cross_entropy(right, right)
    counts = tf.cast(known, tf.float32)
    return tf.reduce_mean(counts * loss), _mean_of(tf.abs(seen - right), counts)


def _cross_entropy(right: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    seen = tf.clip_by_value(seen, _SURE, 1 - _SURE)
    return -right * tf.math.log(seen) - (1 - right) * tf.math.log(1 - seen)


def _known(values: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where values are no NaN, and the values with what was seen in the place of NaN."""
    known = tf.math.logical_not(tf.math.is_nan(values))
    return known, tf.where(known, values, tf.stop_gradient(seen))


def _mean_of(values: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Weighted mean over the first axis; 0 where nothing counts."""
    counts = tf.broadcast_to(counts, tf.shape(values))
    return tf.math.divide_no_nan(tf.reduce_sum(counts * values, 0), tf.reduce_sum(counts, 0))


def _weight(config: StageConfig, names: frozenset[str]) -> float:
    return sum(loss.weight for loss in config.active if loss.name in names)


def _assign(variable: tf.Variable, value: tf.Variable) -> None:
    variable.assign(tf.convert_to_tensor(value))


def _in_turn(sources: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """[2 B, ...]: the first pair's source and target, the second one's, and so on."""
    both = tf.stack([sources, targets], 1)
    return tf.reshape(both, [2 * both.shape[0], *both.shape[2:]])
