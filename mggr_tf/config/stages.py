"""What a config states of one stage: losses, augmentation, portraits, validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal


@dataclass(frozen=True)
class Augmentation:
    """How far pairs are changed; zeros leave them as they are.

    Attributes:
        brightness: largest shift, in units of the [-1, 1] range.
        contrast: largest relative change of contrast.
        colour: largest relative change of one channel against another.
        shift_px: largest shift of both pictures, in whole pixels.
        gamma: largest exponent or its inverse, as a logarithm: 0.3 gives 0.74 to 1.35.
        ramp: largest relative change of light from the middle to a corner, from any side.
        blur: largest share of a blurred picture; half as much sharpens.
        noise: largest standard deviation of a camera's noise, in units of the [-1, 1] range.
        stretch: largest logarithm of a change of the eye's height; its width and the line of its
            corners change less. The exact flow does not follow.
        occlusion: share of pairs that each of two occluders lies over: fingers, hair, a rim of
            glasses, glare or a bar of any colour.
        colour_mix: share of pictures whose colours are mixed at random, and most of the mixing.
        surroundings: share of pairs of which all outside of an ellipse around the eye is blurred
            or turned. The exact flow does not follow.
        source_gaze_deg: standard deviation per axis of the error of the source gaze that a
            redirector gets, in degrees. Devices give it an estimate.
        head_pose_deg: the same of the head pose that all networks get.
    """

    brightness: float = 0.15
    contrast: float = 0.25
    colour: float = 0.08
    shift_px: int = 3
    gamma: float = 0.0
    ramp: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    stretch: float = 0.0
    occlusion: float = 0.0
    colour_mix: float = 0.0
    surroundings: float = 0.0
    source_gaze_deg: float = 0.0
    head_pose_deg: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) < 0:
                raise ValueError(f"{one.name} must not be negative, got {getattr(self, one.name)}")
        for name in ("ramp", "blur", "occlusion", "colour_mix", "surroundings"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must not be above 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class TargetRange:
    """Where photographs are redirected to: uniformly distributed, about the lens.

    Attributes:
        pairs: of photographs in a step, over all devices, beside the stage's `batch`.
        pitch_range_deg: largest pitch up and down.
        yaw_range_deg: largest yaw to either side.
    """

    pairs: int
    pitch_range_deg: float = 15.0
    yaw_range_deg: float = 20.0

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError("pairs must be at least 1")
        for name in ("pitch_range_deg", "yaw_range_deg"):
            if not 0 < getattr(self, name) <= 45:
                raise ValueError(f"{name} must lie in (0, 45], got {getattr(self, name)}")

    @property
    def range_deg(self) -> tuple[float, float]:
        """Largest (pitch, yaw)."""
        return self.pitch_range_deg, self.yaw_range_deg


@dataclass(frozen=True)
class RedirectedPortraits(TargetRange):
    """Pairs of photographs and redirected versions of them, for the stage `adapted`.

    Attributes:
        redirected: versions of each eye, made once at the start of the stage.
    """

    redirected: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redirected < 1:
            raise ValueError("redirected must be at least 1: pairs need a second picture")


@dataclass(frozen=True)
class CycledPortraits(TargetRange):
    """Photographs that are redirected to random gazes and back, for the stage `joint`.

    No second picture of the eye is known, so that losses compare photographs with themselves.

    Attributes:
        cycle: weight of the difference between a photograph and its way there and back: L1, and
            the stage's own losses on feature maps with their weights.
        identity: weight of the L1 change by a redirection to the gaze that the eye has already.
        gaze: weight of the stage's gaze loss, on the difference between what the estimator reads
            off the redirected photograph and off the photograph: its error about a person, which
            both have, cancels. Without it cycle and identity teach to leave photographs alone.
        adversarial: weight of the generator's loss on redirected photographs; with one, the
            discriminator sees photographs as real and their redirected versions as generated.
    """

    cycle: float = 0.0
    identity: float = 0.0
    gaze: float = 0.0
    adversarial: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = (self.cycle, self.identity, self.gaze, self.adversarial)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                "cycle, identity, gaze, adversarial: at least one must be above 0, none below"
            )
        if not self.gaze:
            raise ValueError(
                "gaze must be above 0: cycle, identity and adversarial alone are least where every "
                "photograph is left as it is"
            )


Portraits = RedirectedPortraits | CycledPortraits


def check_portraits(recipe: Sequence[str], portraits: Mapping[str, Portraits | None]) -> None:
    """Holds what stages learn from photographs against what they are, and a recipe.

    Args:
        recipe: stages in order.
        portraits: what each configured stage learns from photographs.

    Raises:
        ValueError: `adapted` is not where it can be trained, or photographs are where they
            cannot be.
    """
    for stage, how in portraits.items():
        if (stage == "adapted") != isinstance(how, RedirectedPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: redirected photographs belong to the stage adapted, "
                "which needs them, as {pairs: 16}"
            )
        if stage != "joint" and isinstance(how, CycledPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: cycle, identity and adversarial belong to the stage "
                "joint"
            )
    if "adapted" not in recipe:
        return
    *before, last = recipe
    redirecting = {*before} - {"estimator", "judge", "adapted"}
    if last != "adapted" or "adapted" in before or "estimator" not in before or not redirecting:
        raise ValueError(
            "recipe: adapted comes last, after the estimator and a stage that trains a redirector"
        )


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
