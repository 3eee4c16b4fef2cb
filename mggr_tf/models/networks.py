"""Build the networks of a run, and save and load their weights.

The redirector changes the gaze of an eye image. The gaze estimator predicts the gaze. Perceptual
losses compare features of images. The features are from the gaze estimator of the run, or from a
network that was trained on ImageNet (`stlpips.py`, `classifiers.py`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from tensorflow import keras

from mggr_edge.errors import RunError
from mggr_tf.config import Config, Method
from mggr_tf.config.sizes import BranchSize
from mggr_tf.models.baselines import build_deepwarp, build_fine_warp, build_generator, build_prgan
from mggr_tf.models.classifiers import build_efficientnet_features, build_vgg16_features
from mggr_tf.models.critics import FEATURES, build_discriminator, build_estimator, build_judge
from mggr_tf.models.mggr import build_coarse, build_fine, build_redirector
from mggr_tf.models.precision import EXACT, Precision, computing_in
from mggr_tf.models.stlpips import build_alex_features


def estimator_features(estimator: keras.Model) -> keras.Model:
    """Return a model that computes the inner feature maps of the estimator.

    Returns:
        model with the inputs `eye` and `head_pose`. It returns a dict of feature maps.
    """
    layers = {name: estimator.get_layer(name).output for name in FEATURES}
    return keras.Model(estimator.inputs, layers, name="estimator_features")


@dataclass(frozen=True)
class Redirection:
    """The networks of a redirector. They share their weights with the joined model.

    Attributes:
        coarse: network that the coarse stage trains. It is `None` if the method has no such
            network.
        fine: network that the fine stage trains. If the method has only one network, `fine` is this
            network.
        joined: model with the inputs and outputs of a redirector (see ARCHITECTURE.md).
    """

    coarse: keras.Model | None
    fine: keras.Model | None
    joined: keras.Model

    @classmethod
    def build(cls, config: Config, *, precision: Precision = EXACT) -> Redirection:
        """Build new networks for the method of the config.

        Args:
            config: config of the run.
            precision: precision of the layers of the networks. The output layers and the layers
                that join the networks are always float32.
        """
        return _BUILDERS[config.method](config, precision)

    def part(self, name: str) -> keras.Model:
        """Return the network `coarse` or `fine`. It must exist (see `ModelConfig.parts`)."""
        network = getattr(self, name)
        assert network is not None, f"this method has no {name} network"
        return network


def _mggr(config: Config, precision: Precision) -> Redirection:
    models, size_px = config.models, config.conventions.patch_size
    coarse = fine = None
    with computing_in(precision):
        if models.coarse is not None:
            coarse = build_coarse(models.coarse, size_px=size_px, guidance=models.guidance)
        if models.fine is not None:
            assert isinstance(models.fine, BranchSize), "the config checks this"
            fine = build_fine(models.fine, size_px=size_px, guidance=models.guidance)
    joined = build_redirector(coarse, fine, size_px=size_px, interpolation=models.interpolation)
    return Redirection(coarse, fine, joined)


def _deepwarp(config: Config, precision: Precision) -> Redirection:
    models, size_px = config.models, config.conventions.patch_size
    assert models.coarse is not None, "the config checks this"
    assert models.fine is not None, "the config checks this"
    with computing_in(precision):
        coarse = build_coarse(models.coarse, size_px=size_px, guidance=models.guidance)
        fine = build_fine_warp(models.fine, size_px=size_px, guidance=models.guidance)
    joined = build_deepwarp(coarse, fine, size_px=size_px, interpolation=models.interpolation)
    return Redirection(coarse, fine, joined)


def _prgan(config: Config, precision: Precision) -> Redirection:
    models, size_px = config.models, config.conventions.patch_size
    assert models.generator is not None, "the config checks this"
    with computing_in(precision):
        generator = build_generator(models.generator, size_px=size_px, guidance=models.guidance)
    return Redirection(None, generator, build_prgan(generator, size_px=size_px))


_BUILDERS: dict[Method, Callable[[Config, Precision], Redirection]] = {
    "mggr": _mggr,
    "deepwarp": _deepwarp,
    "prgan": _prgan,
}


@dataclass(frozen=True)
class Networks:
    """The networks of a run. Each network is built when it is first used.

    The initial weights of a network depend only on the seed of the config. They do not depend on
    the networks that were built before.

    Attributes:
        config: config of the run.
        vgg16: path of the VGG-16 weights. It is needed if the config uses VGG-16 features.
        precision: precision of the networks that are trained: `redirection`, `discriminator`, and
            the `learner` of an estimator. All other networks are float32.
    """

    config: Config
    vgg16: Path | None = None
    precision: Precision = EXACT

    @cached_property
    def estimator(self) -> keras.Model:
        """The gaze estimator. It is used in losses and on the device."""
        size = self._seeded(0)
        return build_estimator(
            self.config.models.estimator,
            size_px=size,
            squeeze=self.config.models.estimator_squeeze,
            window=self.config.models.estimator_window,
            state=self.config.models.estimator_state,
        )

    @cached_property
    def adapted(self) -> keras.Model:
        """A copy of the estimator for the device. It is fine-tuned on photographs.

        This copy is never part of a loss.
        """
        copy: keras.Model = replace(self).estimator
        copy.set_weights(self.estimator.get_weights())
        return copy

    @cached_property
    def judge(self) -> keras.Model:
        """The judge: a gaze estimator that is used only to compute scores."""
        size = self._seeded(1)
        return build_judge(self.config.models.judge, size_px=size)

    def learner(self, name: Literal["estimator", "judge", "adapted"]) -> keras.Model:
        """Return the network that a training stage trains.

        If `precision` is float32, it is the network itself. Otherwise, it is a copy in `precision`.
        """
        network: keras.Model = getattr(self, name)
        if self.precision == EXACT:
            return network
        with computing_in(self.precision):
            twin = getattr(replace(self, precision=EXACT), name)
        twin.set_weights(network.get_weights())
        return twin

    @cached_property
    def redirection(self) -> Redirection:
        """The redirector networks that are trained."""
        self._seeded(3)
        return Redirection.build(self.config, precision=self.precision)

    @cached_property
    def averaged(self) -> Redirection:
        """The redirector networks whose weights are moving averages of the trained weights.

        These networks are used for previews, for scores, and for the export.
        """
        self._seeded(3)
        return Redirection.build(self.config)

    @cached_property
    def discriminator(self) -> keras.Model:
        """The discriminator."""
        size = self._seeded(2)
        with computing_in(self.precision):
            return build_discriminator(self.config.models.discriminator, size_px=size)

    def forget_adversary(self) -> None:
        """Discard the discriminator. The next stage starts with a new discriminator."""
        self.__dict__.pop("discriminator", None)

    @cached_property
    def features(self) -> keras.Model:
        """The model that computes feature maps for perceptual losses.

        The input is `eye` [B, H, W, 3]. The features of the estimator also need `head_pose`.

        Raises:
            MissingPackageError: the weights of AlexNet are not installed.
            RunError: the weights of VGG-16 are not specified, or they are damaged.
        """
        match self.config.models.features:
            case "estimator":
                return estimator_features(self.estimator)
            case "alexnet":
                with computing_in(self.config.models.features_precision):
                    return build_alex_features(levels=5)
            case "vgg16":
                if self.vgg16 is None:
                    raise RunError(
                        f"config {self.config.name} uses features of VGG-16; specify the file "
                        "with the weights of VGG-16: --vgg16 FILE",
                        code="vgg16-weights-missing",
                        config=self.config.name,
                    )
                with computing_in(self.config.models.features_precision):
                    return build_vgg16_features(self.vgg16)

    @cached_property
    def efficientnet(self) -> keras.Model:
        """The model that computes feature maps for the loss `efficientnet`.

        The input is `image` [B, H, W, 3].

        Raises:
            MissingPackageError: the weights of EfficientNet-Lite0 are not installed.
        """
        with computing_in(self.config.models.features_precision):
            return build_efficientnet_features()

    def _seeded(self, offset: int) -> int:
        keras.utils.set_random_seed(1000 * self.config.seed + offset)
        return self.config.conventions.patch_size


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights of a model to an `.npz` file, in the order of the model."""
    np.savez(path, **{f"{i:03d}": value for i, value in enumerate(model.get_weights())})


def load_weights(model: keras.Model, path: Path) -> None:
    """Load weights that `save_weights` wrote. The model must have the same config.

    Raises:
        RunError: the file is missing or damaged.
        RunError: the file belongs to another model.
    """
    try:
        # Numpy does not close a damaged file. The file is therefore first read into memory.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            values = [stored[name] for name in sorted(stored.files)]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path}: the weights cannot be read: {error}",
            code="weights-unreadable",
            path=path,
            reason=str(error),
        ) from error
    expected = [tuple(w.shape) for w in model.weights]
    if [value.shape for value in values] != expected:
        raise RunError(
            f"{path}: the shapes of the weights do not match the model of the config",
            code="weights-of-other-size",
            path=path,
        )
    model.set_weights(values)
