"""Define the config section `models`: structure and sizes of the networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mggr_tf.config.stages import Stage

Method = Literal["mggr", "deepwarp", "prgan"]
Guidance = Literal["gazemap", "delta", "head_pose"]
FeatureNetwork = Literal["estimator", "alexnet", "vgg16"]


@dataclass(frozen=True)
class BranchSize:
    """Size of an encoder-decoder branch.

    Attributes:
        widths: number of channels of each encoder level. Every level after the first level halves
            the resolution.
        blocks: number of residual blocks at the lowest resolution.
        decoder: number of channels of each decoder level, from low to high resolution.
        stem_stride: stride of the first level, 1 or 2. With 2, the first level also halves the
            resolution.
        detail: number of channels of an additional layer after the decoder. This layer has full
            resolution and reads the input pictures again. The layer is useful for a fine branch
            whose first level halves the resolution. The value 0 omits the layer.
        paint: whether a fine branch can replace pixels of the coarse picture. A fine branch always
            adds a residual to the coarse picture.
        alpha: like `paint`, but the redirector returns the opacity of the replaced pixels. A device
            then removes the old pixels at the resolution of the frame.
        by_blocks: whether the layer `detail` and the output layers of a fine branch compute on
            blocks of 2 x 2 pixels, which are stored as channels. Such layers are faster on
            processors.
        layers: number of flows that a coarse branch combines, 1 or 2. With 2, the flow can change
            sharply along the border of the iris.
    """

    widths: tuple[int, ...]
    blocks: int
    decoder: tuple[int, ...]
    stem_stride: int = 2
    detail: int = 0
    paint: bool = False
    alpha: bool = False
    by_blocks: bool = False
    layers: int = 1

    def __post_init__(self) -> None:
        if len(self.decoder) != len(self.widths) - 1:
            raise ValueError(
                f"decoder must have one level fewer than widths, got {len(self.decoder)} and "
                f"{len(self.widths)} levels"
            )
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        if self.layers not in (1, 2):
            raise ValueError(f"layers must be 1 or 2, got {self.layers}")
        if self.layers == 2 and self.stem_stride != 2:
            raise ValueError("layers: 2 needs stem_stride 2")
        if self.by_blocks and not (self.alpha and self.detail and self.stem_stride == 2):
            raise ValueError("by_blocks needs alpha, detail and stem_stride 2")
        if self.paint and self.alpha:
            raise ValueError("paint and alpha exclude each other")
        if min(*self.widths, *self.decoder) < 1 or self.blocks < 0 or self.detail < 0:
            raise ValueError("widths and decoder must be at least 1, blocks and detail at least 0")

    def can_start_from(self, older: BranchSize) -> bool:
        """Return whether weights of the size `older` can be converted to this size.

        `mggr_tf.models.upgrade` converts the weights.
        """
        if older.by_blocks or older.alpha or older.layers == 2:
            return False
        if self.layers == 2:
            return replace(self, layers=1) == older
        if not (self.by_blocks and older.paint and self.detail <= older.detail):
            return False
        if self.decoder[-1] > older.decoder[-1]:
            return False
        before = replace(
            self,
            paint=True,
            alpha=False,
            by_blocks=False,
            detail=older.detail,
            decoder=(*self.decoder[:-1], older.decoder[-1]),
        )
        return before == older


@dataclass(frozen=True)
class StackSize:
    """Size of a DeepWarp module as published: a stack of convolutions at one resolution.

    Attributes:
        widths: number of channels of each convolution.
        kernels: kernel size of each convolution in pixels. There are as many values as in `widths`.
        stem_stride: 1 or 2. With 2, average pooling halves the resolution of the input before the
            first convolution.
    """

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    stem_stride: int = 1

    def __post_init__(self) -> None:
        if not self.widths or len(self.kernels) != len(self.widths):
            raise ValueError("widths and kernels must be of equal length, and not empty")
        if min(*self.widths, *self.kernels) < 1:
            raise ValueError("widths and kernels must be at least 1")
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {self.stem_stride}")


@dataclass(frozen=True)
class GeneratorSize:
    """Size of PRGAN's generator.

    Attributes:
        width: number of channels of the first layer. Each of the two strided layers doubles this
            number.
        blocks: number of residual blocks at the lowest resolution.
    """

    width: int
    blocks: int = 6

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 0:
            raise ValueError("width must be at least 1, blocks at least 0")


@dataclass(frozen=True)
class ModelConfig:
    """Structure and sizes of the networks.

    Attributes:
        discriminator: number of channels of each level of the discriminator.
        coarse: size of the branch that predicts the flow. `null` omits this branch. The branch is
            an encoder-decoder. For DeepWarp, the branch can also be a stack of convolutions.
        fine: size of the branch that adds details that a warp cannot produce. `null` omits this
            branch. This setting accepts the same kinds of sizes as `coarse`.
        generator: size of PRGAN's generator. PRGAN has this generator instead of both branches.
        interpolation: interpolation method of the warp. `bicubic` preserves texture. Devices use
            `bicubic`.
        guidance: inputs that the redirector uses in addition to the picture of the eye. The
            redirector ignores all inputs that are not in this list.
        features: name of the feature network. The losses `perceptual`, `lpips` and `style` compare
            the feature maps of this network.
        features_precision: dtype in which the two frozen networks compute: the feature network, and
            the network of the loss `efficientnet`. `bfloat16` is faster on processors with bfloat16
            instructions, and slower on other processors. With `auto`, a new run selects the faster
            dtype for the machine and stores it.
        random_views: whether both frozen networks compare a random view of the pictures in each
            step.
        estimator: number of channels of each level of the estimator.
        estimator_squeeze: number of output channels of a 1 x 1 convolution. The convolution reduces
            the estimator's last feature maps before the dense layer. 0 omits the convolution; then
            most of the estimator's weights are in the dense layer.
        estimator_window: whether the estimator sees only an ellipse around the eye. Brow, nose and
            cheek look different in synthetic pictures and in photographs.
        estimator_state: whether the estimator also predicts the state of an eye, in its output
            `state`. If true, the stages that train the estimator need a loss `state`.
        judge: number of channels of the judge's first level. The judge is a gaze estimator that
            only scores redirected pictures.
    """

    discriminator: tuple[int, ...]
    coarse: BranchSize | StackSize | None = None
    fine: BranchSize | StackSize | None = None
    generator: GeneratorSize | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    guidance: tuple[Guidance, ...] = ("gazemap", "delta", "head_pose")
    features: FeatureNetwork = "estimator"
    features_precision: Literal["auto", "float32", "bfloat16"] = "float32"
    random_views: bool = False
    estimator: tuple[int, ...] = (16, 32, 64, 96)
    estimator_squeeze: int = 0
    estimator_window: bool = False
    estimator_state: bool = False
    judge: int = 16

    def __post_init__(self) -> None:
        if not {"gazemap", "delta"} & set(self.guidance):
            raise ValueError(
                "guidance must contain gazemap or delta, because no other input contains the "
                "target gaze"
            )
        if self.features == "estimator" and self.features_precision != "float32":
            raise ValueError("features_precision must be float32 with features: estimator")
        if self.features == "estimator" and self.random_views:
            raise ValueError(
                "random_views must be false with features: estimator, because the estimator needs "
                "upright eyes"
            )

    @property
    def parts(self) -> tuple[Literal["coarse", "fine"], ...]:
        """Names of the redirector's networks. Each of these networks has its own weights file."""
        if self.generator is not None:
            return ("fine",)
        return tuple(name for name in ("coarse", "fine") if getattr(self, name) is not None)


def check_networks(models: ModelConfig, *, method: Method, recipe: tuple[Stage, ...]) -> None:
    """Check that the sizes of the networks fit the method, and that all branches to train exist.

    Args:
        models: structure and sizes of the networks.
        method: redirection method.
        recipe: stages that a run trains.

    Raises:
        ValueError: the method does not accept these sizes, or the recipe trains a branch without a
            size.
    """
    if (models.generator is not None) != (method == "prgan"):
        raise ValueError(
            "models.generator is required for method prgan, and not accepted for other methods"
        )
    if method == "prgan" and (models.coarse or models.fine):
        raise ValueError(
            "models.coarse and models.fine must be null for method prgan, because prgan has a "
            "generator"
        )
    if method == "deepwarp" and not (models.coarse and models.fine):
        raise ValueError("method deepwarp needs both models.coarse and models.fine")
    if method != "deepwarp" and StackSize in map(type, (models.coarse, models.fine)):
        raise ValueError(
            "a stack of convolutions (widths, kernels) is accepted for method deepwarp only"
        )
    for name in ("coarse", "fine") if method != "mggr" else ("coarse",):
        size = getattr(models, name)
        if isinstance(size, BranchSize) and (size.detail or size.paint or size.alpha):
            raise ValueError(
                f"models.{name}: detail, paint and alpha are accepted only for models.fine of "
                "method mggr"
            )
    coarse, fine = models.coarse, models.fine
    if isinstance(fine, BranchSize) and fine.layers == 2:
        raise ValueError("models.fine: layers must be 1, because only the coarse branch has flows")
    if isinstance(coarse, BranchSize) and method != "mggr" and coarse.layers == 2:
        raise ValueError("models.coarse: layers: 2 is accepted only for method mggr")
    if method == "mggr" and not models.parts:
        raise ValueError("method mggr needs models.coarse, models.fine or both")
    for stage in ("coarse", "fine"):
        if stage in recipe and stage not in models.parts:
            raise ValueError(f"recipe: stage {stage} needs a value for models.{stage}")
