"""Define the config sections of one stage: losses, augmentation, portraits and validation.

Portraits are photographs of people whose gaze is known. The user adds portraits with the option
`--portraits` of `mggr-tf train`.

The exact flow is the true displacement of each pixel from the source picture to the target picture.
Only synthetic eyes have an exact flow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the augmentation of pairs. With the value 0, an augmentation is disabled.

    Attributes:
        brightness: maximum change of brightness, in units of the [-1, 1] range.
        contrast: maximum relative change of contrast.
        colour: maximum relative change of a colour channel.
        shift_px: maximum shift of the pictures of a pair, in whole pixels.
        gamma: maximum absolute logarithm of the gamma exponent. For example, 0.3 permits exponents
            from 0.74 to 1.35.
        ramp: maximum relative change of brightness from the centre to a corner. The direction is
            chosen at random.
        blur: maximum weight of a blurred copy. The minimum weight is minus half of this value. A
            negative weight sharpens the picture.
        noise: maximum standard deviation of camera noise, in units of the [-1, 1] range.
        low_resolution: probability that the resolution of a pair is reduced to a quarter up to five
            eighths. Such pictures show people far from the camera.
        stretch: maximum absolute logarithm of the factor that changes the eye's height. The width
            and the tilt of the eye change less. The exact flow is not adjusted, so `exact_flow`
            needs the value 0.
        occlusion: probability of each of two occluders in front of the eyes of a pair. An occluder
            shows fingers, hair, a rim of glasses, glare, or a bar of any colour.
        colour_mix: probability that the colour channels of a pair are mixed at random. With the
            same probability, but independently, a pair loses at least half of its saturation.
        surroundings: probability that the region outside an ellipse around the eye is blurred or
            replaced by a flipped copy. The exact flow is not adjusted, so `exact_flow` needs the
            value 0.
        source_gaze_deg: standard deviation of a random error of the redirector's source gaze, in
            degrees per axis. On a device, the source gaze is only an estimate.
        source_pitch_shrink, source_yaw_shrink: maximum reductions of the source gaze, as fractions.
            Each angle is multiplied by a random factor between 1 minus this value and 1. The factor
            simulates an estimator that underestimates large gazes.
        head_pose_deg: like `source_gaze_deg`, for the head pose that all networks receive.
    """

    brightness: float = 0.15
    contrast: float = 0.25
    colour: float = 0.08
    shift_px: int = 3
    gamma: float = 0.0
    ramp: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    low_resolution: float = 0.0
    stretch: float = 0.0
    occlusion: float = 0.0
    colour_mix: float = 0.0
    surroundings: float = 0.0
    source_gaze_deg: float = 0.0
    source_pitch_shrink: float = 0.0
    source_yaw_shrink: float = 0.0
    head_pose_deg: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) < 0:
                raise ValueError(f"{one.name} must be at least 0, got {getattr(self, one.name)}")
        shares = ("ramp", "blur", "low_resolution", "occlusion", "colour_mix", "surroundings")
        for name in (*shares, "source_pitch_shrink", "source_yaw_shrink"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must be at most 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class TargetRange:
    """Range of the target gazes for the redirection of photographs.

    Target gazes are uniformly distributed around the direction of the camera, (0, 0).

    Attributes:
        pairs: number of additional items per step, over all devices. The stage's `batch` does not
            include these items. In the stage `joint`, an item is a photograph. In the stage
            `adapted`, an item is a pair of pictures of one eye. Each picture is a photograph or a
            redirected version of a photograph.
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
        redirected: number of redirected versions of each eye. The versions are made once, at the
            start of the stage.
    """

    redirected: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redirected < 1:
            raise ValueError(f"redirected must be at least 1, got {self.redirected}")


@dataclass(frozen=True)
class CycledPortraits(TargetRange):
    """Photographs that are redirected to random gazes and back, for the stage `joint`.

    There is only one photograph of each eye. Therefore the losses compare a photograph with its own
    redirected versions.

    Attributes:
        cycle: weight of the cycle loss. The photograph is redirected to a random gaze and back to
            its own gaze. The loss compares the result with the photograph. The cycle loss is the L1
            difference plus the stage's losses on feature maps. The losses on feature maps have
            their own weights.
        identity: weight of the identity loss. The photograph is redirected to the gaze that it
            already has. The loss is the L1 difference between the photograph and the result.
        gaze: weight of the stage's gaze loss on photographs. The gaze is estimated before and after
            redirection. The loss compares the difference of the two estimates with the requested
            difference. Both estimates contain the estimator's bias for this person, so the bias
            cancels. Without this loss, `cycle` and `identity` train the redirector to leave
            photographs unchanged.
        adversarial: weight of the generator's adversarial loss on redirected photographs. If this
            weight is above 0, the discriminator is also trained on photographs. Original
            photographs count as real pictures, and redirected photographs count as generated
            pictures.
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
                "cycle, identity, gaze and adversarial must be at least 0, and at least one of "
                "them must be above 0"
            )
        if not self.gaze:
            raise ValueError(
                "gaze must be above 0; without the gaze loss, the other losses are lowest if all "
                "photographs stay unchanged"
            )


Portraits = RedirectedPortraits | CycledPortraits


def check_portraits(recipe: Sequence[str], portraits: Mapping[str, Portraits | None]) -> None:
    """Check the settings for photographs and the position of the stage `adapted`.

    Args:
        recipe: stages in order.
        portraits: stage -> its settings for photographs, for all stages in the config.

    Raises:
        ValueError: the stage `adapted` cannot be trained at its position in the recipe, or a stage
            has settings for photographs that it does not accept.
    """
    for stage, how in portraits.items():
        if (stage == "adapted") != isinstance(how, RedirectedPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: redirected photographs are required for the stage "
                "adapted, for example {pairs: 16}, and not accepted for other stages"
            )
        if stage != "joint" and isinstance(how, CycledPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: only the stage joint accepts cycle, identity, gaze "
                "and adversarial"
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
"""Stages that train the gaze estimator or the judge. All other stages train a redirector. The judge
is a second gaze estimator, which only scores redirected pictures."""

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
"""Losses that are accepted only for the stages that train the estimator."""

ON_NO_PICTURE = OF_ESTIMATOR | {"flow_smoothness", "exact_flow", "cycle"}
"""Losses that use neither the coarse picture nor the redirected picture."""


@dataclass(frozen=True)
class LossConfig:
    """One term of a stage's training objective.

    Attributes:
        name: name of the loss.
        weight: factor of the loss. With the value 0, the loss is disabled.
        picture: picture that the loss is computed on. The losses in `ON_NO_PICTURE` ignore this
            setting.
    """

    name: LossName
    weight: float
    picture: Literal["coarse", "redirected"] = "redirected"


@dataclass(frozen=True)
class AdversaryConfig:
    """Settings of the discriminator.

    Attributes:
        game: type of the adversarial loss: `hinge` (Lim, Ye 2017) or `wasserstein` (Arjovsky et al.
            2017).
        penalty: penalty on the gradient of the discriminator's score. `real` keeps the gradient
            small on real pictures (R1, Mescheder et al. 2018). `between` keeps the norm of the
            gradient at 1 on blends of a real and a generated picture (Gulrajani et al. 2017).
        penalty_weight: weight of the penalty.
        gaze_weight: weight of the loss that trains the discriminator to estimate gazes. This weight
            is used if the stage has the loss `discriminator_gaze`.
        critic_steps: number of discriminator updates per generator update. Each update uses its own
            batch.
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
        every: number of steps between two validations. A validation also follows the last step.
            With the value 0, there are no validations.
        pairs: number of pairs of patches. Every validation uses the same pairs.
        patience: number of consecutive validations without improvement after which the stage stops.
            With the value 0, there is no early stopping.
    """

    every: int = 500
    pairs: int = 256
    patience: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or self.patience < 0 or self.pairs < 1:
            raise ValueError("every and patience must be at least 0, pairs at least 1")
        if self.patience and not self.every:
            raise ValueError(
                "patience must be 0 if every is 0, because `every: 0` disables all validations"
            )

    def is_due(self, step: int, total: int) -> bool:
        """Return whether a validation follows `step`.

        Steps are counted from 1 to `total`.
        """
        return self.every > 0 and (step % self.every == 0 or step == total)


@dataclass(frozen=True)
class StageConfig:
    """Training of one stage.

    Attributes:
        steps: number of training steps. A budget on the command line overrides this number.
        batch: number of pairs per step, over all devices.
        learning_rate: highest learning rate. The learning rate rises to this value in a warm-up and
            then decreases as a cosine.
        share: relative share of the stage in a `--minutes` budget. The share is used if several
            stages share the budget.
        discriminator_learning_rate: highest learning rate of the discriminator.
        losses: terms of the training objective. The stages that train the estimator always have a
            gaze loss in addition to this list.
        adversary: settings of the discriminator. The settings are used if a loss of the stage needs
            a discriminator.
        augmentation: settings for the augmentation of pairs.
        validation: settings for validation and early stopping.
        portraits: settings for the photographs of `train --portraits`. With `null`, the stage
            trains without photographs.
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
        """Number of discriminator updates per step.

        The number is 1 if no loss needs a discriminator.
        """
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
            raise ValueError(
                "portraits.adversarial needs a discriminator; add the loss adversarial to losses"
            )
        aimed = isinstance(self.portraits, CycledPortraits)
        if aimed and not any(loss.name in NEEDS_GAZE for loss in self.active):
            raise ValueError("portraits.gaze needs the loss gaze; add the loss gaze to losses")
        if self.share <= 0:
            raise ValueError(f"share must be above 0, got {self.share}")
        if any(one.name in NEEDS_EXACT_FLOW for one in self.active):
            for name in ("stretch", "surroundings"):
                if getattr(self.augmentation, name):
                    raise ValueError(
                        f"augmentation.{name} must be 0 with loss exact_flow, because this loss "
                        "ignores the augmentation"
                    )
