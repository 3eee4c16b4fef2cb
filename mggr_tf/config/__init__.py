"""Config of a run.

There is one complete config file for each method and size. A config file is validated when it is
read.

A config defines the networks and their training. A config also limits how much a converted model
may differ from the Keras model. A config contains no paths of data or outputs. An unknown key, a
wrong type or a value out of range is an error. The error message names the key.
`mggr_tf.config.files` finds and reads config files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError
from mggr_edge.models.conventions import Conventions
from mggr_tf.config.conversion_limits import ConversionLimits
from mggr_tf.config.resources import CheckpointConfig, ComputeConfig, PackedConfig, SyntheticConfig
from mggr_tf.config.sizes import Method, ModelConfig, check_networks
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
    LossName,
    Stage,
    StageConfig,
    check_portraits,
)


@dataclass(frozen=True)
class Config:
    """All settings of training and export, except the data.

    Attributes:
        name: name of the method and size.
        models: structure and sizes of the networks.
        stages: config of each stage.
        method: redirection method. The method determines which networks form the redirector.
        recipe: stages that a run trains, in order.
        seed: seed of the initial weights, the batches and the augmentation.
        moving_average: decay of the moving average of the redirector's weights, in [0, 1). The
            averaged weights are exported.
        held_out: share of the subjects that are held out from training. This share is used if the
            user does not name the subjects.
        checkpoints: settings for how often checkpoints are written and how many are kept.
        synthetic: amount of synthetic data.
        packed: settings for reading packed data.
        compute: settings for the precision and the compilation of training steps.
        conventions: geometry and scales of the networks' inputs and outputs.
        limits: maximum differences between the outputs of converted models and of the Keras models.
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
        check_networks(self.models, method=self.method, recipe=self.recipe)
        _check_losses(self)
        check_portraits(self.recipe, {name: one.portraits for name, one in self.stages.items()})

    def builds_alike(self, network: str, other: Config) -> bool:
        """Return whether a network has the same structure in another config.

        If the structure is the same, a run of one config can use the network's weights from a run
        of the other config.

        Args:
            network: name of the network, for example `coarse` or `estimator`.
            other: config to compare with.
        """
        of_gaze = network in ("estimator", "adapted")
        settings = (
            ["estimator", "estimator_squeeze", "estimator_window", "estimator_state"]
            if of_gaze
            else [network, "generator", "guidance", "interpolation"]
        )
        same_method = of_gaze or self.method == other.method
        return same_method and all(
            getattr(self.models, name) == getattr(other.models, name) for name in settings
        )

    def last_stage(self, *, portraits: bool) -> Stage:
        """Return the last stage that a run of this config trains.

        Args:
            portraits: whether the run has photographs. Without photographs, the stage `adapted` is
                omitted.
        """
        return self.recipe[-1] if portraits else self.redirecting[-1]

    @property
    def redirecting(self) -> tuple[Stage, ...]:
        """All stages of the recipe except `adapted`. These stages produce the redirector."""
        return tuple(stage for stage in self.recipe if stage != "adapted")

    def asks_for_exact_flow(self, stage: Stage) -> bool:
        """Return whether a stage needs data with the exact flow.

        A stage needs the exact flow if the stage has a loss on the exact flow. A stage also needs
        the exact flow if one of the stages in `needed` has such a loss.
        """
        stages = (self.stage(name) for name in (*self.needed(stage), stage))
        return any(loss.name in NEEDS_EXACT_FLOW for one in stages for loss in one.active)

    def asks_for_landmarks(self, stage: Stage) -> bool:
        """Return whether a stage has a loss on the landmarks of the eye."""
        return any(loss.name in NEEDS_LANDMARKS for loss in self.stage(stage).active)

    def asks_for_state(self, stage: Stage) -> bool:
        """Return whether a stage has a loss on the state of eyes.

        Such a stage needs additional synthetic eyes that are open, closing or closed.
        """
        return any(loss.name in NEEDS_STATE for loss in self.stage(stage).active)

    def for_donor(self, donor: Config) -> Config:
        """Return the config of a run that starts from the weights of a donor.

        A donor is another run whose weights the new run uses.

        Two settings of the estimator can follow the donor: whether it has the output for the state,
        and whether it has a window. If the structures then match, the result has these settings of
        the donor. The reason is that the donor has no weights for the state, or that its weights
        were trained with the window. Otherwise, this config is returned unchanged.
        """
        candidates = (self, _without_state(self))
        window = donor.models.estimator_window
        alike = [
            replace(one, models=replace(one.models, estimator_window=window)) for one in candidates
        ]
        return next(
            (one for one in (*candidates, *alike) if one.builds_alike("estimator", donor)),
            self,
        )

    def losses_that_ask_the_estimator(self, stage: Stage) -> tuple[str, ...]:
        """Return the losses of a stage that use the run's estimator.

        These losses use the gazes or the feature maps of the estimator.
        """
        asking = set(NEEDS_GAZE)
        if self.models.features == "estimator":
            asking |= NEEDS_FEATURES
        return tuple(loss.name for loss in self.stage(stage).active if loss.name in asking)

    def refuse_untrainable(self, stages: Iterable[Stage], *, has_estimator: bool) -> None:
        """Check that all stages to train have the networks and weights that they need.

        This check is needed for stages that are not in the recipe. Stages in the recipe are already
        checked when the config is read.

        Args:
            stages: stages to train, in order.
            has_estimator: whether the run already has weights of an estimator.

        Raises:
            ConfigError: the config does not set the branch that a stage trains. This error is also
                raised if a stage uses the estimator, and no earlier stage trains the estimator.
        """
        for stage in stages:
            if stage in ("coarse", "fine") and stage not in self.models.parts:
                raise ConfigError(
                    f"{self.name}: stage {stage} needs a value for models.{stage}; set it, or "
                    f"train a stage of the recipe: {', '.join(self.recipe)}",
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

        A stage of the recipe needs all stages before it in the recipe. A stage that is not in the
        recipe needs all stages of `redirecting` except the last one. The stage `adapted` needs all
        stages of `redirecting`. The stages `estimator` and `judge` need no other stage.
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
                f"{self.name} has no stage {name!r}; the stages of this config are: {known}",
                code="no-such-stage",
                config=self.name,
                stage=name,
                known=known,
            )
        return self.stages[name]


def _check_losses(config: Config) -> None:
    for stage, settings in config.stages.items():
        for index, loss in enumerate(settings.losses):
            if loss.weight == 0:
                continue
            here = f"stages.{stage}.losses[{index}]"
            of_estimator = loss.name in OF_ESTIMATOR
            if (stage in ("estimator", "adapted")) != of_estimator or stage == "judge":
                redirection = frozenset(get_args(LossName)) - OF_ESTIMATOR
                of_stage = {"estimator": OF_ESTIMATOR, "adapted": OF_ESTIMATOR, "judge": ()}
                accepted = ", ".join(sorted(of_stage.get(stage, redirection))) or "none"
                raise ValueError(
                    f"{here}: stage {stage} does not accept the loss {loss.name!r}; "
                    f"accepted losses: {accepted}"
                )
            if stage == "coarse" and loss.name in NEEDS_DISCRIMINATOR | NEEDS_CYCLE:
                raise ValueError(f"{here}: only the stages fine and joint accept {loss.name!r}")
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


def _without_state(config: Config) -> Config:
    stages = {
        name: replace(stage, losses=tuple(x for x in stage.losses if x.name not in NEEDS_STATE))
        for name, stage in config.stages.items()
    }
    return replace(config, models=replace(config.models, estimator_state=False), stages=stages)


def _check_state_is_learned(config: Config) -> None:
    """Check that a loss trains the estimator's output `state` if the estimator has this output.

    Also check that there is no such loss if the estimator does not have this output.

    Without such a loss, the output would be noise, and devices would use this noise.

    Raises:
        ValueError: the config has the output without the loss, or the loss without the output.
    """
    stages: tuple[Stage, ...] = ("estimator", "adapted")
    for stage in stages:
        if stage not in config.stages:
            continue
        if config.models.estimator_state != config.asks_for_state(stage):
            raise ValueError(
                f"models.estimator_state: true requires a loss `state` in stages.{stage}.losses, "
                "and false does not permit this loss; got "
                f"{str(config.models.estimator_state).lower()} and "
                f"{'a' if config.asks_for_state(stage) else 'no'} loss; set both, for example "
                f"stages.{stage}.losses.state={{name: state, weight: 1}}, or neither"
            )


def _check_is_trained(config: Config, stage: Stage) -> None:
    """Check that a stage has at least one loss that depends on the networks that the stage trains.

    Raises:
        ValueError: no loss depends on these networks. The stage would train nothing.
    """
    active = config.stages[stage].active
    if not active:
        raise ValueError(
            f"stages.{stage}.losses: no loss has a weight other than 0; add one, for example l1"
        )
    # MGGR's fine branch and PRGAN's generator do not change the flow. Both networks only add values
    # to the picture of the eye.
    with_flow = config.method == "deepwarp" or (
        config.method == "mggr" and config.models.coarse is not None and stage != "fine"
    )
    if not with_flow and all(_is_on_the_flow(loss) for loss in active):
        names = ", ".join(loss.name for loss in active)
        raise ValueError(
            f"stages.{stage}.losses contains only losses on the flow ({names}), but stage {stage} "
            f"of method {config.method} does not train the flow; add a loss on the redirected "
            "picture, for example l1 with `picture: redirected`"
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
        ConfigError: a key or value is not valid, or a number is not finite. The message names the
            key.
    """
    _check_is_finite(data, ())
    return read(Config, data)


def config_to_plain(config: Config) -> Any:
    """Return the whole config as dicts and lists."""
    return plain(config)
