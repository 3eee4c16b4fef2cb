"""The redirector of each method: the networks it is made of, and the model that joins them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tensorflow import keras

from mggr_tf.config import Config, Method
from mggr_tf.config.sizes import BranchSize
from mggr_tf.models.coarse import build_coarse
from mggr_tf.models.deepwarp import build_deepwarp, build_fine_warp
from mggr_tf.models.fine import build_fine
from mggr_tf.models.mggr import build_redirector
from mggr_tf.models.precision import EXACT, Precision, computing_in
from mggr_tf.models.prgan import build_generator, build_prgan


@dataclass(frozen=True)
class Redirection:
    """A redirector's networks, which share their weights with the model that joins them.

    Attributes:
        coarse: what the coarse stage trains; None where a method has none.
        fine: what the fine stage trains (a method with one network has it here).
        joined: model of the redirector's inputs and outputs (see ARCHITECTURE.md).
    """

    coarse: keras.Model | None
    fine: keras.Model | None
    joined: keras.Model

    @classmethod
    def build(cls, config: Config, *, precision: Precision = EXACT) -> Redirection:
        """Fresh networks of the config's method.

        Args:
            config: the run's.
            precision: of the networks' layers but for their heads; what joins them is float32.
        """
        return _BUILDERS[config.method](config, precision)

    def part(self, name: str) -> keras.Model:
        """`coarse` or `fine`, which must be there (see `ModelConfig.parts`)."""
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
