"""Config sections of one stage: losses, augmentation, portraits, validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the augmentation of pairs; 0 disables an augmentation.

    Attributes:
        brightness: maximum change of brightness, in units of the [-1, 1] range.
        contrast: maximum relative change of contrast.
        colour: maximum relative change of a colour channel.
        shift_px: maximum shift of both pictures in whole pixels.
        gamma: maximum absolute logarithm of the gamma exponent; 0.3 means exponents from 0.74 to
            1.35.
        ramp: maximum relative change of brightness from the centre to a corner, in any direction.
        blur: maximum weight of a blurred copy; negative weights, which sharpen, go to half of it.
        noise: maximum standard deviation of camera noise, in units of the [-1, 1] range.
        stretch: maximum absolute logarithm of the change of the eye's height. The changes of the
            width and of the tilt of the eye are smaller. The exact flow is not adjusted.
        occlusion: share of pairs that each of two occluders covers. An occluder shows fingers,
            hair, a rim of glasses, glare, or a bar of any colour.
        colour_mix: share of pairs whose colour channels are mixed at random. Independently, the
            same share of pairs loses at least half of its saturation.
        surroundings: share of pairs in which the region outside an ellipse around the eye is
            blurred, or replaced by a flipped copy. The exact flow is not adjusted.
        source_gaze_deg: standard deviation in degrees, per axis, of the error that is added to
            the redirector's source gaze. It simulates a device, where this gaze is an estimate.
        head_pose_deg: standard deviation in degrees, per axis, of the error that is added to the
            head pose that all networks receive.
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
                raise ValueError(f"{one.name} must be at least 0, got {getattr(self, one.name)}")
        for name in ("ramp", "blur", "occlusion", "colour_mix", "surroundings"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must be at most 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class TargetRange:
    """Target gazes of photographs: uniformly distributed around the camera direction (0, 0).

    Attributes:
        pairs: in the stage `joint`, number of photographs per step; in the stage `adapted`, number
            of pairs of photographs or their redirected versions per step. Both are over all
            devices and in addition to the stage's `batch`.
        pitch_range_deg: maximum absolute pitch in degrees.
        yaw_range_deg: maximum absolute yaw in degrees.
    """

    pairs: int
    pitch_range_deg: float = 15.0
    yaw_range_deg: float = 20.0

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"pairs must be at least 1, got {self.pairs}")
        for name in ("pitch_range_deg", "yaw_range_deg"):
            if not 0 < getattr(self, name) <= 45:
                raise ValueError(f"{name} must be in (0, 45], got {getattr(self, name)}")

    @property
    def range_deg(self) -> tuple[float, float]:
        """Maximum absolute (pitch, yaw) in degrees."""
        return self.pitch_range_deg, self.yaw_range_deg


@dataclass(frozen=True)
class RedirectedPortraits(TargetRange):
    """Pairs of photographs and their redirected versions, for the stage `adapted`.

    Attributes:
        redirected: number of redirected versions of each eye, which are made once at the start of
            the stage.
    """

    redirected: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redirected < 1:
            raise ValueError(f"redirected must be at least 1, got {self.redirected}")


@dataclass(frozen=True)
class CycledPortraits(TargetRange):
    """Photographs that are redirected to random gazes and back, for the stage `joint`.

    There is no second picture of the same eye, so the losses compare a photograph with its own
    redirected versions.

    Attributes:
        cycle: weight of the cycle loss, the difference between a photograph and the picture that
            is redirected to a random gaze and back. It is the L1 difference plus the stage's
            losses on feature maps with their own weights.
        identity: weight of the L1 difference between a photograph and its redirection to the gaze
            that it already has.
        gaze: weight of the stage's gaze loss, applied to the difference between the estimated
            gazes of the redirected and the original photograph. The estimator's personal bias is
            in both estimates and cancels. Without this loss, `cycle` and `identity` train the
            redirector to leave photographs unchanged.
        adversarial: weight of the generator's adversarial loss on redirected photographs. If it
            is above 0, the discriminator is also trained with photographs as real pictures and
            with their redirected versions as generated ones.
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
                "cycle, identity, gaze and adversarial must be at least 0, and one of them above 0"
            )
        if not self.gaze:
            raise ValueError(
                "gaze must be above 0; without it, the other losses are lowest if all photographs "
                "stay unchanged"
            )


Portraits = RedirectedPortraits | CycledPortraits


def check_portraits(recipe: Sequence[str], portraits: Mapping[str, Portraits | None]) -> None:
    """Check that the settings for photographs fit the stages, and the position of `adapted`.

    Args:
        recipe: stages in order.
        portraits: stage -> settings for photographs, of all configured stages.

    Raises:
        ValueError: the recipe has `adapted` in a position where it cannot be trained, or the
            settings for photographs belong to another stage.
    """
    for stage, how in portraits.items():
        if (stage == "adapted") != isinstance(how, RedirectedPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: redirected photographs are required for the stage "
                "adapted, for example {pairs: 16}, and not accepted for other stages"
            )
        if stage != "joint" and isinstance(how, CycledPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: cycle, identity, gaze and adversarial are accepted for "
                "the stage joint only"
            )
    if "adapted" not in recipe:
        return
    *before, last = recipe
    redirecting = {*before} - {"estimator", "judge", "adapted"}
    if last != "adapted" or "adapted" in before or "estimator" not in before or not redirecting:
        raise ValueError(
            "recipe: adapted must be the last stage, after estimator and a stage that trains a "
            "redirector"
        )


Stage = Literal["estimator", "judge", "coarse", "fine", "joint", "adapted"]

STAGES: tuple[Stage, ...] = ("estimator", "judge", "coarse", "fine", "joint", "adapted")

OF_GAZE: frozenset[Stage] = frozenset({"estimator", "judge", "adapted"})
"""Stages that train a gaze estimator or the judge; all others train a redirector."""

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
"""Losses that only the stages that train the estimator have."""

ON_NO_PICTURE = OF_ESTIMATOR | {"flow_smoothness", "exact_flow", "cycle"}
"""Losses that are not computed on the coarse or the redirected picture."""


@dataclass(frozen=True)
class LossConfig:
    """One term of a stage's training objective.

    Attributes:
        name: name of the loss.
        weight: factor of the loss; 0 disables it.
        picture: picture that the loss is computed on; ignored by the losses in `ON_NO_PICTURE`.
    """

    name: LossName
    weight: float
    picture: Literal["coarse", "redirected"] = "redirected"


@dataclass(frozen=True)
class AdversaryConfig:
    """Settings of the discriminator.

    Attributes:
        game: adversarial loss: `hinge` (Lim, Ye 2017), or `wasserstein` (Arjovsky et al. 2017).
        penalty: penalty on the gradient of the discriminator's score. `real` keeps the gradient
            small on real pictures (R1, Mescheder et al. 2018). `between` keeps the gradient's
            norm at 1 on blends of real and generated pictures (Gulrajani et al. 2017).
        penalty_weight: weight of the penalty.
        gaze_weight: weight of the discriminator's gaze regression, if the stage has the loss
            `discriminator_gaze`.
        critic_steps: number of discriminator updates per generator update, each on its own batch.
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
            raise ValueError("set both penalty and penalty_weight, or neither")


@dataclass(frozen=True)
class ValidationConfig:
    """Validation of a stage on held-out subjects, and early stopping.

    Attributes:
        every: steps between two validations. The last step is always followed by a validation; 0
            disables all validations.
        pairs: number of pairs of patches, the same pairs in every validation.
        patience: number of consecutive validations without improvement after which the stage
            stops early; 0 disables early stopping.
    """

    every: int = 500
    pairs: int = 256
    patience: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or self.patience < 0 or self.pairs < 1:
            raise ValueError("every and patience must be at least 0, pairs at least 1")
        if self.patience and not self.every:
            raise ValueError("patience must be 0 with `every: 0`, which disables validations")

    def is_due(self, step: int, total: int) -> bool:
        """Return whether a validation follows `step`, counted from 1, of `total` steps."""
        return self.every > 0 and (step % self.every == 0 or step == total)


@dataclass(frozen=True)
class StageConfig:
    """Training of one stage.

    Attributes:
        steps: number of training steps, if the command line sets no budget.
        batch: pairs per step, over all devices.
        learning_rate: peak of the learning rate schedule (warm-up, then cosine decay).
        share: relative weight of the stage when several stages share a `--minutes` budget.
        discriminator_learning_rate: peak of the discriminator's learning rate schedule.
        losses: terms of the training objective. The estimator's stages always have a gaze loss in
            addition to the losses in this list.
        adversary: settings of the discriminator, for stages with a loss that needs it.
        augmentation: augmentation of pairs.
        validation: validation and early stopping.
        portraits: settings for the photographs of `train --portraits`; null trains without them.
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
        """Discriminator updates per step; always 1 if no loss needs a discriminator."""
        needed = any(loss.name in NEEDS_DISCRIMINATOR for loss in self.active)
        return self.adversary.critic_steps if needed else 1

    @property
    def active(self) -> tuple[LossConfig, ...]:
        """Losses whose weight is not 0."""
        return tuple(loss for loss in self.losses if loss.weight != 0)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError("steps and batch must be at least 1")
        if self.learning_rate <= 0 or self.discriminator_learning_rate <= 0:
            raise ValueError("learning_rate and discriminator_learning_rate must be above 0")
        judged = isinstance(self.portraits, CycledPortraits) and self.portraits.adversarial
        if judged and not any(loss.name in NEEDS_DISCRIMINATOR for loss in self.active):
            raise ValueError("portraits.adversarial needs a discriminator; add a loss adversarial")
        aimed = isinstance(self.portraits, CycledPortraits)
        if aimed and not any(loss.name in NEEDS_GAZE for loss in self.active):
            raise ValueError("portraits.gaze needs a loss gaze in losses; add it")
        if self.share <= 0:
            raise ValueError(f"share must be above 0, got {self.share}")
        if any(one.name in NEEDS_EXACT_FLOW for one in self.active):
            for name in ("stretch", "surroundings"):
                if getattr(self.augmentation, name):
                    raise ValueError(
                        f"augmentation.{name} must be 0 with loss exact_flow, which ignores it"
                    )
