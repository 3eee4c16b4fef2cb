"""What a config says of one stage: its losses, its adversary, how it is watched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mggr_tf.config.augmentation import Augmentation
from mggr_tf.config.portraits import CycledPortraits, RedirectedPortraits

Stage = Literal["estimator", "judge", "coarse", "fine", "joint", "adapted"]

STAGES: tuple[Stage, ...] = ("estimator", "judge", "coarse", "fine", "joint", "adapted")

OF_GAZE: frozenset[Stage] = frozenset({"estimator", "judge", "adapted"})
"""Stages that train a network to read gaze; all others train a redirector."""

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
    "state",
    "gaze_difference",
    "cycle",
    "adversarial",
    "discriminator_gaze",
]

NEEDS_FEATURES = frozenset({"perceptual", "lpips", "style"})
NEEDS_EFFICIENTNET = frozenset({"efficientnet"})
NEEDS_GAZE = frozenset({"gaze"})
NEEDS_DISCRIMINATOR = frozenset({"adversarial", "discriminator_gaze"})
NEEDS_CYCLE = frozenset({"cycle"})
NEEDS_EXACT_FLOW = frozenset({"exact_flow"})
NEEDS_LANDMARKS = frozenset({"landmarks"})
NEEDS_STATE = frozenset({"state"})
NEEDS_DIFFERENCE = frozenset({"gaze_difference"})
OF_ESTIMATOR = NEEDS_LANDMARKS | NEEDS_STATE | NEEDS_DIFFERENCE
"""Losses of the stages that train the estimator, and of no others."""

ON_NO_PICTURE = OF_ESTIMATOR | {"flow_smoothness", "exact_flow", "cycle"}
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
class StageConfig:
    """How one stage is trained.

    Attributes:
        steps: budget when none is given on the command line.
        share: part of a `--minutes` budget when several stages share it.
        batch: pairs a step, over all devices.
        learning_rate: peak of a warm-up and cosine schedule.
        discriminator_learning_rate: the same for the discriminator.
        losses: the generator's objective. An estimator always learns gaze;
            it may have `landmarks` and `state` beside it.
        adversary: how the discriminator plays, where a loss needs one.
        augmentation: how pairs are changed.
        validation: how it is watched, and when it ends early.
        portraits: what it learns from a run's photographs (`train --portraits`); null: nothing.
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
    portraits: RedirectedPortraits | CycledPortraits | None = None

    @property
    def critic_steps(self) -> int:
        """Updates of the discriminator in a step: 1 where no loss needs one, whatever it says."""
        needed = any(loss.name in NEEDS_DISCRIMINATOR for loss in self.active)
        return self.adversary.critic_steps if needed else 1

    @property
    def active(self) -> tuple[LossConfig, ...]:
        """The losses that have a weight."""
        return tuple(loss for loss in self.losses if loss.weight != 0)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError("steps and batch must be at least 1")
        if self.learning_rate <= 0 or self.discriminator_learning_rate <= 0:
            raise ValueError("learning rates must be positive")
        judged = isinstance(self.portraits, CycledPortraits) and self.portraits.adversarial
        if judged and not any(loss.name in NEEDS_DISCRIMINATOR for loss in self.active):
            raise ValueError("portraits.adversarial needs a discriminator: name a loss adversarial")
        aimed = isinstance(self.portraits, CycledPortraits)
        if aimed and not any(loss.name in NEEDS_GAZE for loss in self.active):
            raise ValueError("portraits.gaze needs an estimator: name a loss gaze")
        if self.share <= 0:
            raise ValueError("share must be positive")
        if any(one.name in NEEDS_EXACT_FLOW for one in self.active):
            for name in ("stretch", "surroundings"):
                if getattr(self.augmentation, name):
                    raise ValueError(
                        f"augmentation.{name} moves points where loss exact_flow cannot follow"
                    )
