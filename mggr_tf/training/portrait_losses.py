"""What a redirector learns from photographs, of which no second gaze is known.

References:
    [1] He et al., Photo-Realistic Monocular Gaze Redirection, ICCV 2019 (cycle loss).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import tensorflow as tf
from tensorflow import keras

from mggr_edge.models.contract import Conventions
from mggr_tf.config.portraits import CycledPortraits
from mggr_tf.config.stages import NEEDS_FEATURES, LossConfig
from mggr_tf.data.gazemap import Gazemap
from mggr_tf.training.batch import Batch, Metrics
from mggr_tf.training.losses import LOSSES, LossContext
from mggr_tf.training.losses.comparison import Comparison

PREFIX = "portrait_"
"""Of the names of photographs in a batch and of their losses."""


def portraits_in(batch: Batch) -> Batch:
    """The photographs in a batch, by the names of `pair_dataset` but for `target`."""
    return {
        name.removeprefix(PREFIX): value for name, value in batch.items() if name.startswith(PREFIX)
    }


class PortraitLosses:
    """Losses on photographs that are redirected to random gazes.

    Args:
        how: which, and their weights.
        losses: of the stage; those on feature maps of the redirected picture compare a
            photograph with its way there and back, too.
        redirect: a redirector's inputs to its outputs, while it is trained.
        back: redirected pictures [P, H, W, 3] and the photographs' batch to the pictures
            redirected to where the photographs look.
        estimate: pictures and head poses by the estimator's names to gazes [P, 2], network units.
        gazemap: gazes [P, 2] in degrees to gazemaps [P, H, W, 2].
        conventions: scales of the redirector's inputs and the estimator's output.
        features: what compares feature maps; None without such losses.
        shown: what of pictures feature networks see.
        discriminator: judges redirected photographs; None where it does not see them.
    """

    def __init__(
        self,
        how: CycledPortraits,
        losses: Sequence[LossConfig],
        *,
        redirect: Callable[[Batch], Batch],
        back: Callable[[tf.Tensor, Batch], tf.Tensor],
        estimate: Callable[[Batch], tf.Tensor],
        gazemap: Gazemap,
        conventions: Conventions,
        features: Comparison | None,
        shown: Callable[[tf.Tensor], tf.Tensor],
        discriminator: keras.Model | None,
    ) -> None:
        self._how, self._redirect, self._back = how, redirect, back
        self._gazemap, self._features, self._shown = gazemap, features, shown
        self._estimate = estimate
        self._delta_scale_deg = tf.constant(conventions.delta_scale_deg)
        self._gaze_scale_deg = tf.constant(conventions.gaze_scale_deg)
        self._discriminator = discriminator if how.adversarial else None
        self._compared = tuple(
            loss for loss in losses if loss.name in NEEDS_FEATURES and loss.picture == "redirected"
        )

    def __call__(self, photographs: Batch) -> tuple[tf.Tensor, tf.Tensor, Metrics]:
        """Redirects photographs and compares.

        Args:
            photographs: see `portraits_in`.

        Returns:
            the redirected pictures [P, H, W, 3]; the weighted sum of all terms, []; and each term
            by its name, [], unweighted. All are means over these photographs.
        """
        how, eye = self._how, photographs["eye"]
        redirected = self._redirect(photographs)["redirected"]
        terms: Metrics = {"gaze": self._aim(redirected, photographs)}
        if how.cycle:
            terms["cycle"] = self._there_and_back(redirected, photographs)
        if how.identity:
            # What is left is the error of the source gaze that the redirector gets.
            shift_deg = photographs["target_gaze"] - photographs["source_gaze"]
            still = {
                **photographs,
                "gazemap": self._gazemap(photographs["source_gaze"]),
                "delta": photographs["delta"] - shift_deg / self._delta_scale_deg,
            }
            kept = self._redirect(still)["redirected"]
            terms["identity"] = tf.reduce_mean(tf.abs(kept - eye))
        if self._discriminator is not None:
            verdict = self._discriminator(redirected, training=True)
            terms["adversarial"] = -tf.reduce_mean(verdict["realness"])
        loss = tf.add_n([getattr(how, name) * value for name, value in terms.items()])
        return redirected, loss, {PREFIX + name: value for name, value in terms.items()}

    def _aim(self, redirected: tf.Tensor, photographs: Batch) -> tf.Tensor:
        head = {"head_pose": photographs["head_pose"]}
        before = self._estimate({"eye": photographs["eye"], **head})
        after = self._estimate({"eye": redirected, **head})
        context = LossContext(
            source=photographs["eye"],
            picture=redirected,
            target=photographs["eye"],
            flow=tf.zeros_like(redirected[..., :2]),
            target_gaze=photographs["target_gaze"] / self._gaze_scale_deg,
            seen_gaze=photographs["source_gaze"] / self._gaze_scale_deg + after - before,
        )
        return tf.reduce_mean(LOSSES["gaze"](context))

    def _there_and_back(self, redirected: tf.Tensor, photographs: Batch) -> tf.Tensor:
        eye = photographs["eye"]
        cycled = self._back(redirected, photographs)
        context = LossContext(
            source=eye,
            picture=cycled,
            target=eye,
            flow=tf.zeros_like(eye[..., :2]),
            target_gaze=photographs["source_gaze"],
            cycled=cycled,
        )
        terms = [tf.reduce_mean(LOSSES["cycle"](context))]
        if self._features is not None and self._compared:
            head = {"head_pose": photographs["head_pose"]}
            seen, right = self._features(self._shown(cycled), self._shown(eye), head)
            context = replace(context, features=seen, target_features=right)
            terms += [
                loss.weight * tf.reduce_mean(LOSSES[loss.name](context)) for loss in self._compared
            ]
        return tf.add_n(terms)
