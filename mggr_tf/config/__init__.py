"""What a config says: one whole file per method and size, checked as it is read.

A config says what to train and what a conversion may cost, never where anything
lies. An unknown key, a wrong type or a value out of range is an error that names
its path. Files are found and read by `config_files`.
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
    """Capacities.

    Attributes:
        coarse: the branch that predicts a flow; null goes without.
        fine: the branch that adds what the warp cannot bring; null goes without.
            (Both are an encoder and decoder; DeepWarp's may be a stack, as published.)
        generator: PRGAN's, in place of both branches.
        discriminator: channels of its levels.
        interpolation: of the warp; bicubic keeps texture, and is what devices warp with.
        guidance: which numeric inputs the redirector uses; the others of its inputs are ignored.
        features: whose feature maps `perceptual`, `lpips` and `style` compare.
        features_precision: what that (frozen) network computes in, and the one that
            `efficientnet` asks; bfloat16 is faster where the processor has
            instructions for it, and slower elsewhere: `auto` looks, and a new run
            keeps what it saw.
        random_views: whether both see a random view of the pictures in each step.
        estimator: channels of its levels.
        estimator_squeeze: channels that its last maps are squeezed to before they meet its
            dense layer, which holds most of its weights otherwise; 0 leaves them.
        estimator_state: whether the estimator also predicts the state of an eye, by its output
            `state`; its stage then needs a loss `state`.
        judge: channels of its first level.
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
    estimator_state: bool = False
    judge: int = 16

    def __post_init__(self) -> None:
        if not {"gazemap", "delta"} & set(self.guidance):
            raise ValueError("guidance must hold gazemap or delta: nothing else says where to look")
        if self.features == "estimator" and self.features_precision != "float32":
            raise ValueError("features_precision: the estimator computes in float32")
        if self.features == "estimator" and self.random_views:
            raise ValueError("random_views: the estimator knows upright eyes of one size only")

    @property
    def parts(self) -> tuple[Literal["coarse", "fine"], ...]:
        """The redirector's networks that have weights files of their own."""
        if self.generator is not None:
            return ("fine",)
        return tuple(name for name in ("coarse", "fine") if getattr(self, name) is not None)


@dataclass(frozen=True)
class Config:
    """Everything that decides what training does and export allows, but for the data.

    Attributes:
        name: of the method and size.
        method: whose redirector is built.
        recipe: the stages that make it, in order.
        seed: of weights, batches and augmentation.
        moving_average: decay of the generator's averaged weights, which are exported.
        held_out: part of the subjects that training leaves aside when none are named.
        packed: how packed data is read.
        compute: in what precision, and how, its steps are computed.
        checkpoints: how often work is saved.
        limits: what a converted model may differ from Keras by.
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
            raise ValueError(f"seed must lie in [0, 2**32), got {self.seed}")
        if not 0 <= self.moving_average < 1 or not 0 <= self.held_out < 1:
            raise ValueError("moving_average and held_out must lie in [0, 1)")
        if set(self.stages) - set(STAGES):
            unknown = ", ".join(sorted(set(self.stages) - set(STAGES)))
            raise ValueError(f"stages: unknown {unknown}; known: {', '.join(STAGES)}")
        if not self.recipe or set(self.recipe) - set(self.stages):
            raise ValueError("recipe must name at least one stage, and only configured ones")
        _check_networks(self)
        _check_losses(self)
        check_portraits(self.recipe, {name: one.portraits for name, one in self.stages.items()})

    def builds_alike(self, network: str, other: Config) -> bool:
        """Whether another config's network of this name fits in this one's place."""
        of_gaze = network in ("estimator", "adapted")
        settings = (
            ["estimator", "estimator_squeeze", "estimator_state"]
            if of_gaze
            else [network, "generator", "guidance", "interpolation"]
        )
        same_method = of_gaze or self.method == other.method
        return same_method and all(
            getattr(self.models, name) == getattr(other.models, name) for name in settings
        )

    def last_stage(self, *, portraits: bool) -> Stage:
        """The last stage of the recipe that a run trains.

        Args:
            portraits: whether the run has photographs, without which there is no `adapted`.
        """
        return self.recipe[-1] if portraits else self.redirecting[-1]

    @property
    def redirecting(self) -> tuple[Stage, ...]:
        """The stages of the recipe up to a finished redirector: all but `adapted`."""
        return tuple(stage for stage in self.recipe if stage != "adapted")

    def asks_for_exact_flow(self, stage: Stage) -> bool:
        """Whether a stage, or one that it needs, learns from the true flow between pictures."""
        stages = (self.stage(name) for name in (*self.needed(stage), stage))
        return any(loss.name in NEEDS_EXACT_FLOW for one in stages for loss in one.active)

    def asks_for_landmarks(self, stage: Stage) -> bool:
        """Whether a stage learns from where the eye's landmarks lie."""
        return any(loss.name in NEEDS_LANDMARKS for loss in self.stage(stage).active)

    def asks_for_state(self, stage: Stage) -> bool:
        """Whether a stage learns the state of eyes, and needs some that close."""
        return any(loss.name in NEEDS_STATE for loss in self.stage(stage).active)

    def for_donor(self, donor: Config) -> Config:
        """The config for a run that starts from another run's weights.

        That of a donor whose estimator differs in nothing but that it predicts no state does
        without it, too: its weights hold nothing to predict it with.
        """
        without = _without_state(self)
        alike = without.builds_alike("estimator", donor)
        return without if alike and not self.builds_alike("estimator", donor) else self

    def losses_that_ask_the_estimator(self, stage: Stage) -> tuple[str, ...]:
        """A stage's losses that ask the run's estimator, or compare its features."""
        asking = set(NEEDS_GAZE)
        if self.models.features == "estimator":
            asking |= NEEDS_FEATURES
        return tuple(loss.name for loss in self.stage(stage).active if loss.name in asking)

    def refuse_untrainable(self, stages: Iterable[Stage], *, has_estimator: bool) -> None:
        """Refuses to train stages outside the recipe that lack a network or its weights.

        Those in the recipe are checked when a config is read.

        Args:
            stages: to be trained, in order.
            has_estimator: whether the run has an estimator's weights already.

        Raises:
            ConfigError: there is no such branch, or a loss asks the estimator, and nothing trains
                it before.
        """
        for stage in stages:
            if stage in ("coarse", "fine") and stage not in self.models.parts:
                raise ConfigError(
                    f"{self.name}: stage {stage} has no {stage} branch to train; set "
                    f"models.{stage}, or train another stage of the recipe: "
                    f"{', '.join(self.recipe)}"
                )
            has_estimator = has_estimator or stage == "estimator"
            if stage == "adapted" and not has_estimator:
                raise ConfigError(
                    f"{self.name}: stage adapted fine-tunes the estimator, which no stage before "
                    "it trains; put estimator into the recipe"
                )
            if not has_estimator and (asking := self.losses_that_ask_the_estimator(stage)):
                raise ConfigError(_estimator_needed(stage, asking, self))

    def needed(self, stage: Stage) -> tuple[Stage, ...]:
        """What must be trained before a stage: the stages before it in the recipe.

        A stage that the recipe does not hold needs all that come before its last; `adapted`
        needs a finished redirector.
        """
        if stage in ("estimator", "judge"):
            return ()
        if stage == "adapted":
            return self.redirecting
        if stage in self.recipe:
            return self.recipe[: self.recipe.index(stage)]
        return tuple(s for s in self.redirecting[:-1] if s != stage)

    def stage(self, name: Stage) -> StageConfig:
        """The config of one stage.

        Raises:
            ConfigError: the config does not hold it.
        """
        if name not in self.stages:
            known = ", ".join(self.stages)
            raise ConfigError(f"{self.name} has no stage {name!r}; its stages: {known}")
        return self.stages[name]


def _check_networks(config: Config) -> None:
    models, method = config.models, config.method
    if (models.generator is not None) != (method == "prgan"):
        raise ValueError("models.generator belongs to method prgan, and to no other")
    if method == "prgan" and (models.coarse or models.fine):
        raise ValueError("method prgan has a generator, no coarse and no fine branch")
    if method == "deepwarp" and not (models.coarse and models.fine):
        raise ValueError("method deepwarp needs both models.coarse and models.fine")
    if method != "deepwarp" and StackSize in map(type, (models.coarse, models.fine)):
        raise ValueError("a stack of convolutions (widths, kernels) belongs to method deepwarp")
    for name in ("coarse", "fine") if method != "mggr" else ("coarse",):
        size = getattr(models, name)
        if isinstance(size, BranchSize) and (size.detail or size.paint):
            raise ValueError(f"models.{name}: detail and paint belong to mggr's fine branch")
    if method == "mggr" and not models.parts:
        raise ValueError("method mggr needs models.coarse, models.fine or both")
    for stage in ("coarse", "fine"):
        if stage in config.recipe and stage not in models.parts:
            raise ValueError(f"recipe: there is no {stage} branch to train")


def _check_losses(config: Config) -> None:
    for stage, settings in config.stages.items():
        for index, loss in enumerate(settings.losses):
            if loss.weight == 0:
                continue
            here = f"stages.{stage}.losses[{index}]"
            of_estimator = loss.name in OF_ESTIMATOR
            if (stage in ("estimator", "adapted")) != of_estimator or stage == "judge":
                raise ValueError(
                    f"{here}: the stages estimator and adapted have the losses "
                    f"{', '.join(sorted(OF_ESTIMATOR))} alone, and no other stage has them; the "
                    "judge has no losses to choose"
                )
            if stage == "coarse" and loss.name in NEEDS_DISCRIMINATOR | NEEDS_CYCLE:
                raise ValueError(f"{here}: {loss.name!r} belongs to the fine and joint stages")
            if stage == "coarse" and loss.name not in ON_NO_PICTURE and loss.picture != "coarse":
                raise ValueError(
                    f"{here}: the coarse stage has no redirected picture; "
                    f"put {loss.name!r} `picture: coarse`"
                )
            if loss.name == "lpips" and config.models.features != "alexnet":
                raise ValueError(f"{here}: 'lpips' needs `models.features: alexnet`")
        asking = config.losses_that_ask_the_estimator(stage)
        if asking and stage in config.recipe and "estimator" not in config.needed(stage):
            raise ValueError(_estimator_needed(stage, asking, config))
        if stage == "joint" or stage in config.models.parts:
            _check_is_trained(config, stage)
    _check_state_is_learned(config)


def _without_state(config: Config) -> Config:
    stages = {
        name: replace(stage, losses=tuple(x for x in stage.losses if x.name not in NEEDS_STATE))
        for name, stage in config.stages.items()
    }
    return replace(config, models=replace(config.models, estimator_state=False), stages=stages)


def _check_state_is_learned(config: Config) -> None:
    """An output that no loss trains would reach devices as noise."""
    stages: tuple[Stage, ...] = ("estimator", "adapted")
    for stage in stages:
        if stage not in config.stages:
            continue
        if config.models.estimator_state != config.asks_for_state(stage):
            raise ValueError(
                f"models.estimator_state and a loss `state` in stages.{stage}.losses go together: "
                f"got {str(config.models.estimator_state).lower()} and "
                f"{'a' if config.asks_for_state(stage) else 'no'} loss; set both, as "
                f"stages.{stage}.losses.state={{name: state, weight: 1}}, or neither"
            )


def _check_is_trained(config: Config, stage: Stage) -> None:
    """A stage without a loss that depends on the networks it trains would train nothing."""
    active = config.stages[stage].active
    if not active:
        raise ValueError(f"stages.{stage}.losses: none has a weight; name one, as l1")
    # What these are: the fine branch of MGGR and PRGAN's generator only add to the warped eye.
    with_flow = config.method == "deepwarp" or (
        config.method == "mggr" and config.models.coarse is not None and stage != "fine"
    )
    if not with_flow and all(_is_on_the_flow(loss) for loss in active):
        names = ", ".join(loss.name for loss in active)
        raise ValueError(
            f"stages.{stage}.losses: {names} depend on the flow alone, which stage {stage} does "
            f"not train with method {config.method}; add a loss on `picture: redirected`, as l1"
        )


def _is_on_the_flow(loss: LossConfig) -> bool:
    on_picture = loss.name not in ON_NO_PICTURE
    return loss.picture == "coarse" if on_picture else loss.name not in NEEDS_CYCLE


def _estimator_needed(stage: Stage, asking: tuple[str, ...], config: Config) -> str:
    recipe = ("estimator", *(name for name in config.recipe if name != "estimator"))
    need = "needs" if len(asking) == 1 else "need"
    compared = [name for name in asking if name in NEEDS_FEATURES]
    what = f"compare features of the estimator: {', '.join(compared)}" if compared else "ask it"
    other = ", or models.features: alexnet (or vgg16)" if len(compared) == len(asking) else ""
    return (
        f"stages.{stage}.losses: {', '.join(asking)} {need} the estimator in the recipe before "
        f"stage {stage} ({what}); set recipe: "
        f"[{', '.join(recipe)}]{other}"
    )


def _check_is_finite(data: object, keys: tuple[str, ...]) -> None:
    if isinstance(data, float) and not math.isfinite(data):
        raise ConfigError(f"{'.'.join(keys)}: expected a finite number, got {data}")
    below = enumerate(data) if isinstance(data, list) else ()
    for key, value in data.items() if isinstance(data, dict) else below:
        _check_is_finite(value, (*keys, str(key)))


def config_from_plain(data: object) -> Config:
    """Reads a config from dicts and lists, as `config_to_plain` writes them.

    Raises:
        ConfigError: it does not fit, or a number in it is not finite; the message names the key.
    """
    _check_is_finite(data, ())
    return read(Config, data)


def config_to_plain(config: Config) -> Any:
    """The whole config as dicts and lists."""
    return plain(config)
