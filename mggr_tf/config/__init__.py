"""The config of a run: one complete file per method and size, validated when it is read.

A config defines the networks, their training, and the limits of model conversion. It contains no
paths of data or outputs. An unknown key, a wrong type or a value out of range is an error whose
message names the key. `mggr_tf.config.files` finds and reads config files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError
from mggr_edge.models.contract import Conventions
from mggr_tf.config.conversion_limits import ConversionLimits
from mggr_tf.config.sizes import (
    BranchSize,
    CheckpointConfig,
    ComputeConfig,
    GeneratorSize,
    PackedConfig,
    StackSize,
    SyntheticConfig,
)
from mggr_tf.config.stages import (
    NEEDS_CYCLE,
    NEEDS_DISCRIMINATOR,
    NEEDS_EXACT_FLOW,
    NEEDS_FEATURES,
    NEEDS_GAZE,
    NEEDS_LANDMARKS,
    NEEDS_STATE,
    OF_ESTIMATOR,
    ON_NO_PICTURE,
    STAGES,
    LossConfig,
    Stage,
    StageConfig,
    check_portraits,
)

Method = Literal["mggr", "deepwarp", "prgan"]
Guidance = Literal["gazemap", "delta", "head_pose"]
FeatureNetwork = Literal["estimator", "alexnet", "vgg16"]


@dataclass(frozen=True)
class ModelConfig:
    """Structure and sizes of the networks.

    Attributes:
        discriminator: channels of the discriminator's levels.
        coarse: branch that predicts the flow; null omits it. It is an encoder-decoder, or for
            DeepWarp also a stack of convolutions as published.
        fine: branch that adds the details that a warp cannot produce; null omits it. It has the
            same kinds of sizes as `coarse`.
        generator: PRGAN's generator, which replaces both branches.
        interpolation: interpolation of the warp; bicubic preserves texture, and devices use it.
        guidance: inputs besides the eye that the redirector uses; the others are ignored.
        features: network whose feature maps the losses `perceptual`, `lpips` and `style` compare.
        features_precision: dtype in which this frozen network computes, and the frozen network
            of the loss `efficientnet`. bfloat16 is faster on processors with bfloat16
            instructions, and slower on others. `auto` chooses for this machine, and a new run
            stores the choice.
        random_views: whether these two networks compare a random view of the pictures in each
            step.
        estimator: channels of the estimator's levels.
        estimator_squeeze: number of channels to which a 1 x 1 convolution reduces the estimator's
            last feature maps before the dense layer. Without it, the dense layer holds most of
            the weights; 0 omits it.
        estimator_landmarks: whether the estimator predicts the gaze from landmarks and head pose
            alone; the stage `estimator` then needs a loss `landmarks`.
        estimator_state: whether the estimator also predicts the state of an eye, as its output
            `state`; the stages of the estimator then need a loss `state`.
        judge: channels of the judge's first level.
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
    estimator_landmarks: bool = False
    estimator_state: bool = False
    judge: int = 16

    def __post_init__(self) -> None:
        if not {"gazemap", "delta"} & set(self.guidance):
            raise ValueError(
                "guidance must contain gazemap or delta; no other input has the target gaze"
            )
        if self.features == "estimator" and self.features_precision != "float32":
            raise ValueError("features_precision must be float32 with features: estimator")
        if self.features == "estimator" and self.random_views:
            raise ValueError(
                "random_views must be false with features: estimator, which needs upright eyes"
            )

    @property
    def parts(self) -> tuple[Literal["coarse", "fine"], ...]:
        """Names of the redirector's networks, each of which has its own weights file."""
        if self.generator is not None:
            return ("fine",)
        return tuple(name for name in ("coarse", "fine") if getattr(self, name) is not None)


@dataclass(frozen=True)
class Config:
    """All settings of training and export, except the data.

    Attributes:
        name: name of the method and size.
        models: structure and sizes of the networks.
        stages: config of each stage.
        method: method whose redirector is built.
        recipe: stages that produce the redirector, in order.
        seed: seed of weights, batches and augmentation.
        moving_average: decay of the moving average of the redirector's weights. The averaged
            weights are exported.
        held_out: share of the subjects that is held out from training, if no subjects are named.
        checkpoints: frequency and number of checkpoints.
        synthetic: amount of synthetic data.
        packed: reading of packed data.
        compute: precision and compilation of training steps.
        conventions: geometry and scales of the networks' inputs and outputs.
        limits: limits on the difference between converted models and Keras.
    """

    name: str
    models: ModelConfig
    stages: dict[Stage, StageConfig]
    method: Method = "mggr"
    recipe: tuple[Stage, ...] = ("estimator", "coarse", "joint")
    seed: int = 1
    moving_average: float = 0.998
    held_out: float = 0.15
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    packed: PackedConfig = field(default_factory=PackedConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    conventions: Conventions = field(default_factory=Conventions)
    limits: ConversionLimits = field(default_factory=ConversionLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in [0, 2**32), got {self.seed}")
        if not 0 <= self.moving_average < 1 or not 0 <= self.held_out < 1:
            raise ValueError(
                f"moving_average and held_out must be in [0, 1), got {self.moving_average} and "
                f"{self.held_out}"
            )
        if set(self.stages) - set(STAGES):
            unknown = ", ".join(sorted(set(self.stages) - set(STAGES)))
            raise ValueError(f"stages: unknown {unknown}; known: {', '.join(STAGES)}")
        if not self.recipe or set(self.recipe) - set(self.stages):
            raise ValueError(
                "recipe must list at least one stage, and only stages that are in `stages`"
            )
        _check_networks(self)
        _check_losses(self)
        check_portraits(self.recipe, {name: one.portraits for name, one in self.stages.items()})

    def builds_alike(self, network: str, other: Config) -> bool:
        """Return whether a network has the same structure in another config.

        If so, its weights can be exchanged between the two configs.

        Args:
            network: name of the network, such as `coarse` or `estimator`.
            other: config to compare with.
        """
        of_gaze = network in ("estimator", "adapted")
        settings = (
            ["estimator", "estimator_squeeze", "estimator_landmarks", "estimator_state"]
            if of_gaze
            else [network, "generator", "guidance", "interpolation"]
        )
        same_method = of_gaze or self.method == other.method
        return same_method and all(
            getattr(self.models, name) == getattr(other.models, name) for name in settings
        )

    def last_stage(self, *, portraits: bool) -> Stage:
        """Return the last stage of the recipe that a run trains.

        Args:
            portraits: whether the run has photographs; the stage `adapted` needs them.
        """
        return self.recipe[-1] if portraits else self.redirecting[-1]

    @property
    def redirecting(self) -> tuple[Stage, ...]:
        """Stages of the recipe that produce the redirector: all except `adapted`."""
        return tuple(stage for stage in self.recipe if stage != "adapted")

    def asks_for_exact_flow(self, stage: Stage) -> bool:
        """Return whether a stage, or a stage that it needs, has a loss on the exact flow."""
        stages = (self.stage(name) for name in (*self.needed(stage), stage))
        return any(loss.name in NEEDS_EXACT_FLOW for one in stages for loss in one.active)

    def asks_for_landmarks(self, stage: Stage) -> bool:
        """Return whether a stage has a loss on the landmarks of the eye."""
        return any(loss.name in NEEDS_LANDMARKS for loss in self.stage(stage).active)

    def asks_for_state(self, stage: Stage) -> bool:
        """Return whether a stage has a loss on the state of eyes, and so needs closing eyes."""
        return any(loss.name in NEEDS_STATE for loss in self.stage(stage).active)

    def for_donor(self, donor: Config) -> Config:
        """Return the config of a run that starts from the weights of another run, the donor.

        If the donor's estimator predicts no state or no landmarks and has the same structure
        otherwise, the result does not predict them either, because the donor has no weights for
        them. In all other cases the config is not changed.
        """
        candidates = (
            self,
            _without_landmarks(self),
            _without_state(self),
            _without_landmarks(_without_state(self)),
        )
        return next((one for one in candidates if one.builds_alike("estimator", donor)), self)

    def losses_that_ask_the_estimator(self, stage: Stage) -> tuple[str, ...]:
        """Return the losses of a stage that use the run's estimator or its feature maps."""
        asking = set(NEEDS_GAZE)
        if self.models.features == "estimator":
            asking |= NEEDS_FEATURES
        return tuple(loss.name for loss in self.stage(stage).active if loss.name in asking)

    def refuse_untrainable(self, stages: Iterable[Stage], *, has_estimator: bool) -> None:
        """Check that the stages to train have the networks and weights that they need.

        This matters for stages outside the recipe; those in the recipe are already checked when
        the config is read.

        Args:
            stages: stages to train, in order.
            has_estimator: whether the run already has an estimator's weights.

        Raises:
            ConfigError: the branch of a stage does not exist, or a stage uses the estimator and
                no earlier stage trains it.
        """
        for stage in stages:
            if stage in ("coarse", "fine") and stage not in self.models.parts:
                raise ConfigError(
                    f"{self.name}: stage {stage} trains models.{stage}, which is not set; set it, "
                    f"or train a stage of the recipe: {', '.join(self.recipe)}",
                    code="branch-not-set",
                    config=self.name,
                    stage=stage,
                )
            has_estimator = has_estimator or stage == "estimator"
            if stage == "adapted" and not has_estimator:
                raise ConfigError(
                    f"{self.name}: stage adapted fine-tunes the estimator, but no earlier stage "
                    "trains it; add estimator to the recipe",
                    code="adapted-without-estimator",
                    config=self.name,
                )
            if not has_estimator and (asking := self.losses_that_ask_the_estimator(stage)):
                raise ConfigError(
                    _estimator_needed(stage, asking, self),
                    code="losses-without-estimator",
                    stage=stage,
                    losses=", ".join(asking),
                )

    def needed(self, stage: Stage) -> tuple[Stage, ...]:
        """Return the stages that must be trained before a stage.

        For a stage of the recipe these are the stages before it. For another stage they are all
        stages before the last one that trains the redirector. The stage `adapted` needs the
        finished redirector; the stages `estimator` and `judge` need none.
        """
        if stage in ("estimator", "judge"):
            return ()
        if stage == "adapted":
            return self.redirecting
        if stage in self.recipe:
            return self.recipe[: self.recipe.index(stage)]
        return tuple(s for s in self.redirecting[:-1] if s != stage)

    def stage(self, name: Stage) -> StageConfig:
        """Return the config of one stage.

        Raises:
            ConfigError: the config has no such stage.
        """
        if name not in self.stages:
            known = ", ".join(self.stages)
            raise ConfigError(
                f"{self.name} has no stage {name!r}; its stages: {known}",
                code="no-such-stage",
                config=self.name,
                stage=name,
                known=known,
            )
        return self.stages[name]


def _check_networks(config: Config) -> None:
    models, method = config.models, config.method
    if (models.generator is not None) != (method == "prgan"):
        raise ValueError(
            "models.generator is required for method prgan, and not accepted for other methods"
        )
    if method == "prgan" and (models.coarse or models.fine):
        raise ValueError(
            "models.coarse and models.fine must be null for method prgan, which has a generator"
        )
    if method == "deepwarp" and not (models.coarse and models.fine):
        raise ValueError("method deepwarp needs both models.coarse and models.fine")
    if method != "deepwarp" and StackSize in map(type, (models.coarse, models.fine)):
        raise ValueError(
            "a stack of convolutions (widths, kernels) is accepted for method deepwarp only"
        )
    for name in ("coarse", "fine") if method != "mggr" else ("coarse",):
        size = getattr(models, name)
        if isinstance(size, BranchSize) and (size.detail or size.paint):
            raise ValueError(
                f"models.{name}: detail and paint are accepted for models.fine of method mggr only"
            )
    if method == "mggr" and not models.parts:
        raise ValueError("method mggr needs models.coarse, models.fine or both")
    for stage in ("coarse", "fine"):
        if stage in config.recipe and stage not in models.parts:
            raise ValueError(f"recipe: stage {stage} trains models.{stage}, which is not set")


def _check_losses(config: Config) -> None:
    for stage, settings in config.stages.items():
        for index, loss in enumerate(settings.losses):
            if loss.weight == 0:
                continue
            here = f"stages.{stage}.losses[{index}]"
            of_estimator = loss.name in OF_ESTIMATOR
            if (stage in ("estimator", "adapted")) != of_estimator or stage == "judge":
                raise ValueError(
                    f"{here}: loss {loss.name!r} is not accepted for stage {stage}; the stages "
                    f"estimator and adapted accept {', '.join(sorted(OF_ESTIMATOR))}, the stage "
                    "judge accepts none, and all other stages accept the other losses"
                )
            if stage == "coarse" and loss.name in NEEDS_DISCRIMINATOR | NEEDS_CYCLE:
                raise ValueError(
                    f"{here}: {loss.name!r} is accepted for the stages fine and joint only"
                )
            if stage == "coarse" and loss.name not in ON_NO_PICTURE and loss.picture != "coarse":
                raise ValueError(
                    f"{here}: stage coarse has no redirected picture; set `picture: coarse` for "
                    f"{loss.name!r}"
                )
            if loss.name == "lpips" and config.models.features != "alexnet":
                raise ValueError(f"{here}: 'lpips' needs `models.features: alexnet`")
        asking = config.losses_that_ask_the_estimator(stage)
        if asking and stage in config.recipe and "estimator" not in config.needed(stage):
            raise ValueError(_estimator_needed(stage, asking, config))
        if stage == "joint" or stage in config.models.parts:
            _check_is_trained(config, stage)
    _check_state_is_learned(config)
    if config.models.estimator_landmarks and not config.asks_for_landmarks("estimator"):
        raise ValueError(
            "models.estimator_landmarks: true requires a loss `landmarks` in "
            "stages.estimator.losses"
        )


def _without_landmarks(config: Config) -> Config:
    return replace(config, models=replace(config.models, estimator_landmarks=False))


def _without_state(config: Config) -> Config:
    stages = {
        name: replace(stage, losses=tuple(x for x in stage.losses if x.name not in NEEDS_STATE))
        for name, stage in config.stages.items()
    }
    return replace(config, models=replace(config.models, estimator_state=False), stages=stages)


def _check_state_is_learned(config: Config) -> None:
    """Check that the estimator predicts the state if and only if a loss trains this output.

    Devices would read noise from an output that no loss trains.

    Raises:
        ValueError: only one of the two is configured.
    """
    stages: tuple[Stage, ...] = ("estimator", "adapted")
    for stage in stages:
        if stage not in config.stages:
            continue
        if config.models.estimator_state != config.asks_for_state(stage):
            raise ValueError(
                f"models.estimator_state: true requires a loss `state` in stages.{stage}.losses, "
                f"and false forbids it; got {str(config.models.estimator_state).lower()} and "
                f"{'a' if config.asks_for_state(stage) else 'no'} loss; set both, for example "
                f"stages.{stage}.losses.state={{name: state, weight: 1}}, or neither"
            )


def _check_is_trained(config: Config, stage: Stage) -> None:
    """Check that at least one loss of a stage depends on the networks that the stage trains.

    Raises:
        ValueError: no loss depends on them, so the stage would train nothing.
    """
    active = config.stages[stage].active
    if not active:
        raise ValueError(
            f"stages.{stage}.losses: no loss has a weight other than 0; add one, for example l1"
        )
    # MGGR's fine branch and PRGAN's generator do not change the flow; they only add to the eye.
    with_flow = config.method == "deepwarp" or (
        config.method == "mggr" and config.models.coarse is not None and stage != "fine"
    )
    if not with_flow and all(_is_on_the_flow(loss) for loss in active):
        names = ", ".join(loss.name for loss in active)
        raise ValueError(
            f"stages.{stage}.losses: {names} depend on the flow only, which stage {stage} does "
            f"not train with method {config.method}; add a loss with `picture: redirected`, for "
            "example l1"
        )


def _is_on_the_flow(loss: LossConfig) -> bool:
    on_picture = loss.name not in ON_NO_PICTURE
    return loss.picture == "coarse" if on_picture else loss.name not in NEEDS_CYCLE


def _estimator_needed(stage: Stage, asking: tuple[str, ...], config: Config) -> str:
    recipe = ("estimator", *(name for name in config.recipe if name != "estimator"))
    need = "needs" if len(asking) == 1 else "need"
    compared = [name for name in asking if name in NEEDS_FEATURES]
    use = f"feature maps for {', '.join(compared)}" if compared else "gaze estimates"
    other = ", or models.features: alexnet (or vgg16)" if len(compared) == len(asking) else ""
    return (
        f"stages.{stage}.losses: {', '.join(asking)} {need} the estimator ({use}) in the recipe "
        f"before stage {stage}; set recipe: [{', '.join(recipe)}]{other}"
    )


def _check_is_finite(data: object, keys: tuple[str, ...]) -> None:
    if isinstance(data, float) and not math.isfinite(data):
        at = ".".join(keys)
        raise ConfigError(
            f"{at}: expected a finite number, got {data}",
            code="number-not-finite",
            at=at,
            found=data,
        )
    below = enumerate(data) if isinstance(data, list) else ()
    for key, value in data.items() if isinstance(data, dict) else below:
        _check_is_finite(value, (*keys, str(key)))


def config_from_plain(data: object) -> Config:
    """Read a config from dicts and lists, as returned by `config_to_plain`.

    Raises:
        ConfigError: a key or value is not valid, or a number is not finite; the message names the
            key.
    """
    _check_is_finite(data, ())
    return read(Config, data)


def config_to_plain(config: Config) -> Any:
    """Return the whole config as dicts and lists."""
    return plain(config)
