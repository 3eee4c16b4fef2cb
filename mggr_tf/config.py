"""What a config says: one whole file per method and size, checked as it is read.

A config says what to train and what a conversion may cost, never where anything
lies. An unknown key, a wrong type or a value out of range is an error that names
its path. Files are found and read by `config_files`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mggr_edge.contract import Conventions
from mggr_edge.errors import ConfigError
from mggr_edge.strict import plain, read
from mggr_tf.conversion_limits import ConversionLimits
from mggr_tf.data.augment_config import Augmentation
from mggr_tf.models.size import BranchSize, GeneratorSize, StackSize

Stage = Literal["estimator", "judge", "coarse", "fine", "joint"]

STAGES: tuple[Stage, ...] = ("estimator", "judge", "coarse", "fine", "joint")

Method = Literal["mggr", "deepwarp", "prgan"]
Guidance = Literal["gazemap", "delta", "head_pose"]
FeatureNetwork = Literal["estimator", "alexnet", "vgg16"]

LossName = Literal[
    "l1",
    "l2",
    "ssim",
    "perceptual",
    "lpips",
    "efficientnet",
    "style",
    "gaze",
    "flow_smoothness",
    "exact_flow",
    "landmarks",
    "cycle",
    "adversarial",
    "discriminator_gaze",
]

NEEDS_FEATURES = frozenset({"perceptual", "lpips", "style"})
NEEDS_EFFICIENTNET = frozenset({"efficientnet"})
NEEDS_GAZE = frozenset({"gaze"})
NEEDS_DISCRIMINATOR = frozenset({"adversarial", "discriminator_gaze"})
NEEDS_ESTIMATOR = frozenset({"gaze", "perceptual"})
NEEDS_CYCLE = frozenset({"cycle"})
NEEDS_EXACT_FLOW = frozenset({"exact_flow"})
NEEDS_LANDMARKS = frozenset({"landmarks"})
ON_NO_PICTURE = frozenset({"flow_smoothness", "exact_flow", "landmarks", "cycle"})
"""Losses that look at something else than one of the two pictures."""


@dataclass(frozen=True)
class LossConfig:
    """One term of a stage's objective.

    Attributes:
        name: which loss.
        weight: what it is multiplied with; 0 leaves it out.
        picture: which picture it is put on (ignored by those in `ON_NO_PICTURE`).
    """

    name: LossName
    weight: float
    picture: Literal["coarse", "redirected"] = "redirected"


@dataclass(frozen=True)
class AdversaryConfig:
    """How the discriminator plays.

    Attributes:
        game: `hinge` (Lim, Ye 2017), or `wasserstein` (Arjovsky et al. 2017).
        penalty: on the gradient of its score: `real` keeps it small on real
            pictures (R1, Mescheder et al. 2018), `between` keeps its norm at 1
            between real and made ones (Gulrajani et al. 2017).
        penalty_weight: what that is multiplied with.
        gaze_weight: of its own gaze regression, where `discriminator_gaze` is a loss.
        critic_steps: its updates for one of the generator, each on a batch of its own.
    """

    game: Literal["hinge", "wasserstein"] = "hinge"
    penalty: Literal["none", "real", "between"] = "none"
    penalty_weight: float = 0.0
    gaze_weight: float = 1.0
    critic_steps: int = 1

    def __post_init__(self) -> None:
        if self.critic_steps < 1:
            raise ValueError("critic_steps must be at least 1")
        if (self.penalty == "none") != (self.penalty_weight == 0):
            raise ValueError("penalty and penalty_weight go together: both, or neither")


@dataclass(frozen=True)
class ValidationConfig:
    """How a stage is watched on people whom it does not train on.

    Attributes:
        every: steps between two validations; the last step always has one. 0: none at all.
        pairs: how many pairs of patches, the same ones each time.
        patience: so many validations without a better one end the stage; 0: none do.
    """

    every: int = 500
    pairs: int = 256
    patience: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or self.patience < 0 or self.pairs < 1:
            raise ValueError("every and patience must be at least 0, pairs at least 1")
        if self.patience and not self.every:
            raise ValueError("patience counts validations, and `every: 0` has none")

    def is_due(self, step: int, total: int) -> bool:
        """Whether there is a validation after `step` of `total` steps."""
        return self.every > 0 and (step % self.every == 0 or step == total)


@dataclass(frozen=True)
class CheckpointConfig:
    """How often work is saved, and what is kept of it.

    Attributes:
        seconds: between two checkpoints; one more is made at every best validation.
        keep: so many of the last are kept, and the best by validation.
    """

    seconds: float = 60.0
    keep: int = 2

    def __post_init__(self) -> None:
        if self.seconds < 0 or self.keep < 1:
            raise ValueError("seconds must be at least 0, keep at least 1")


@dataclass(frozen=True)
class StageConfig:
    """How one stage is trained.

    Attributes:
        steps: budget when none is given on the command line.
        share: part of a `--minutes` budget when several stages share it.
        batch: pairs a step, over all devices.
        learning_rate: peak of a warm-up and cosine schedule.
        discriminator_learning_rate: the same for the discriminator.
        losses: the generator's objective. An estimator learns gaze without being told;
            it may have `landmarks` beside it.
        adversary: how the discriminator plays, where a loss needs one.
        augmentation: how pairs are changed.
        validation: how it is watched, and when it ends early.
    """

    steps: int
    batch: int
    learning_rate: float
    share: float = 1.0
    discriminator_learning_rate: float = 2e-4
    losses: tuple[LossConfig, ...] = ()
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    @property
    def active(self) -> tuple[LossConfig, ...]:
        """The losses that have a weight."""
        return tuple(loss for loss in self.losses if loss.weight != 0)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError("steps and batch must be at least 1")
        if self.learning_rate <= 0 or self.discriminator_learning_rate <= 0:
            raise ValueError("learning rates must be positive")
        if self.share <= 0:
            raise ValueError("share must be positive")
        if self.augmentation.stretch and any(one.name in NEEDS_EXACT_FLOW for one in self.active):
            raise ValueError(
                "augmentation.stretch moves points where loss exact_flow cannot follow"
            )


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
        guidance: what the redirector is told; the others of its inputs are ignored.
        features: whose feature maps `perceptual`, `lpips` and `style` compare.
        features_precision: what that (frozen) network computes in, and the one that
            `efficientnet` asks; bfloat16 is faster where the processor has
            instructions for it, and slower elsewhere: `auto` looks, and a new run
            keeps what it saw.
        random_views: whether both see a random view of the pictures in each step.
        estimator: channels of its levels.
        estimator_squeeze: channels that its last maps are squeezed to before they meet its
            dense layer, which holds most of its weights otherwise; 0 leaves them.
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
class ComputeConfig:
    """What a stage computes in while it trains; what it leaves is float32 whatever this says.

    Attributes:
        precision: of the layers of the networks that are trained. Their weights, their heads, the
            warp, losses and moving averages are float32. float16 comes with loss scaling and
            needs a GPU; bfloat16 needs no scaling and gains nothing where it is emulated. (Frozen
            networks have `models.features_precision`.)
        xla: whether a step is compiled as a whole.
    """

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False


@dataclass(frozen=True)
class SyntheticConfig:
    """How many eyes are drawn when no data is named.

    Attributes:
        subjects: how many people.
        per_group: pictures of one person, side and head pose.
        seed: of the renderer.
    """

    subjects: int = 400
    per_group: int = 5
    seed: int = 1


@dataclass(frozen=True)
class PackedConfig:
    """How packed data is read (see docs/data.md).

    Attributes:
        memory_mb: of pixels; a smaller set is read into memory as a whole.
        chunks: of patches of one person and head pose, between which each row of a batch
            chooses, and which stay in memory for as many steps as they last.
        corrupt_limit: so many corrupt records are left out; one more ends the training.
    """

    memory_mb: int = 1000
    chunks: int = 2
    corrupt_limit: int = 16

    def __post_init__(self) -> None:
        if self.memory_mb < 0 or self.corrupt_limit < 0 or self.chunks < 1:
            raise ValueError("memory_mb and corrupt_limit must be at least 0, chunks at least 1")


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
        if not 0 <= self.moving_average < 1 or not 0 <= self.held_out < 1:
            raise ValueError("moving_average and held_out must lie in [0, 1)")
        if set(self.stages) - set(STAGES):
            unknown = ", ".join(sorted(set(self.stages) - set(STAGES)))
            raise ValueError(f"stages: unknown {unknown}; known: {', '.join(STAGES)}")
        if not self.recipe or set(self.recipe) - set(self.stages):
            raise ValueError("recipe must name at least one stage, and only configured ones")
        _check_networks(self)
        _check_losses(self)

    def builds_alike(self, network: str, other: Config) -> bool:
        """Whether another config's `estimator`, `coarse` or `fine` fits in this one's place."""
        settings = (
            ["estimator", "estimator_squeeze"]
            if network == "estimator"
            else [network, "generator", "guidance", "interpolation"]
        )
        same_method = network == "estimator" or self.method == other.method
        return same_method and all(
            getattr(self.models, name) == getattr(other.models, name) for name in settings
        )

    def asks_for_exact_flow(self, stage: Stage) -> bool:
        """Whether a stage, or one that it needs, learns from the true flow between pictures."""
        stages = (self.stage(name) for name in (*self.needed(stage), stage))
        return any(loss.name in NEEDS_EXACT_FLOW for one in stages for loss in one.active)

    def asks_for_landmarks(self, stage: Stage) -> bool:
        """Whether a stage learns from where the eye's landmarks lie."""
        return any(loss.name in NEEDS_LANDMARKS for loss in self.stage(stage).active)

    def needed(self, stage: Stage) -> tuple[Stage, ...]:
        """What must be trained before a stage: the stages before it in the recipe.

        A stage that the recipe does not hold needs all that come before its last.
        """
        if stage in ("estimator", "judge"):
            return ()
        if stage in self.recipe:
            return self.recipe[: self.recipe.index(stage)]
        return tuple(s for s in self.recipe[:-1] if s != stage)

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
            if (stage == "estimator") != (loss.name in NEEDS_LANDMARKS) or stage == "judge":
                raise ValueError(
                    f"{here}: the estimator stage knows 'landmarks' alone, and no other stage "
                    "does; the judge has no losses to choose"
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
            if loss.name in NEEDS_ESTIMATOR and "estimator" not in config.needed(stage):
                uses_it = loss.name == "gaze" or config.models.features == "estimator"
                if uses_it and stage in config.recipe:
                    raise ValueError(f"{here}: {loss.name!r} needs the estimator in the recipe")


def config_from_plain(data: object) -> Config:
    """Reads back what `config_to_plain` wrote into a run."""
    return read(Config, data)


def config_to_plain(config: Config) -> Any:
    """The whole config as dicts and lists."""
    return plain(config)
