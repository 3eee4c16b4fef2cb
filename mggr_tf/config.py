"""Configs: one whole file per method and size, loaded strictly.

A config says what to train, never where anything lies. An unknown key, a
wrong type or a value out of range is an error that names its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from mggr_edge.contract import Conventions
from mggr_edge.errors import ConfigError
from mggr_edge.strict import plain, read
from mggr_tf.data.augment_config import Augmentation
from mggr_tf.models.size import BranchSize

Stage = Literal["estimator", "judge", "coarse", "fine", "joint"]

STAGES: tuple[Stage, ...] = ("estimator", "judge", "coarse", "fine", "joint")

REQUIRED: dict[Stage, tuple[Stage, ...]] = {
    "estimator": (),
    "judge": (),
    "coarse": ("estimator",),
    "fine": ("estimator", "coarse"),
    "joint": ("estimator", "coarse"),
}
"""What a stage needs to have been trained before it: the paper's order."""

LossName = Literal[
    "l1",
    "ssim",
    "perceptual",
    "gaze",
    "flow_smoothness",
    "adversarial",
    "discriminator_gaze",
]


@dataclass(frozen=True)
class LossConfig:
    """One term of a stage's objective.

    Attributes:
        name: which loss.
        weight: what it is multiplied with.
        picture: which picture it is put on (ignored by `flow_smoothness`).
    """

    name: LossName
    weight: float
    picture: Literal["coarse", "redirected"] = "redirected"


@dataclass(frozen=True)
class StageConfig:
    """How one stage is trained.

    Attributes:
        steps: budget when none is given on the command line.
        share: part of a `--minutes` budget when several stages share it.
        batch: pairs a step, over all devices.
        learning_rate: peak of a warm-up and cosine schedule.
        discriminator_learning_rate: the same for the discriminator.
        losses: the generator's objective; empty for estimators.
        augmentation: how pairs are changed.
    """

    steps: int
    batch: int
    learning_rate: float
    share: float = 1.0
    discriminator_learning_rate: float = 2e-4
    losses: tuple[LossConfig, ...] = ()
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError("steps and batch must be at least 1")
        if self.learning_rate <= 0 or self.discriminator_learning_rate <= 0:
            raise ValueError("learning rates must be positive")
        if self.share <= 0:
            raise ValueError("share must be positive")


@dataclass(frozen=True)
class ModelConfig:
    """Capacities.

    Attributes:
        coarse, fine: the branches.
        discriminator: channels of its levels.
        estimator: channels of its levels.
        judge: channels of its first level.
    """

    coarse: BranchSize
    fine: BranchSize
    discriminator: tuple[int, ...]
    estimator: tuple[int, ...] = (16, 32, 64, 96)
    judge: int = 16


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
class Config:
    """Everything that decides what training does, but for the data.

    Attributes:
        name: of the method and size.
        seed: of weights, batches and augmentation.
        moving_average: decay of the generator's averaged weights, which are exported.
        held_out: part of the subjects that training leaves aside when none are named.
    """

    name: str
    models: ModelConfig
    stages: dict[str, StageConfig]
    seed: int = 1
    moving_average: float = 0.998
    held_out: float = 0.15
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    conventions: Conventions = field(default_factory=Conventions)

    def __post_init__(self) -> None:
        if not 0 <= self.moving_average < 1 or not 0 <= self.held_out < 1:
            raise ValueError("moving_average and held_out must lie in [0, 1)")
        if set(self.stages) != set(STAGES):
            raise ValueError(f"stages must be {', '.join(STAGES)}, got {', '.join(self.stages)}")
        for index, loss in enumerate(self.stages["coarse"].losses):
            if loss.name != "flow_smoothness" and loss.picture != "coarse":
                raise ValueError(
                    f"stages.coarse.losses[{index}]: the coarse stage has no redirected picture; "
                    f"put {loss.name!r} `picture: coarse`"
                )
            if loss.name in ("adversarial", "discriminator_gaze"):
                raise ValueError(
                    f"stages.coarse.losses[{index}]: {loss.name!r} belongs to the fine and "
                    "joint stages"
                )

    def stage(self, name: Stage) -> StageConfig:
        """The config of one stage."""
        return self.stages[name]


def load_config(name_or_file: str, *, changes: Iterable[str] = ()) -> Config:
    """Reads a packaged config by name (`mggr-edge`) or any by file.

    Args:
        name_or_file: name of a packaged config, or a path to a .yaml.
        changes: `key=value` with dotted keys, as `--set` takes them; values are YAML.

    Raises:
        ConfigError: no such config, or one that does not fit; the message names the path.
    """
    file = config_file(name_or_file)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name_or_file}: not YAML: {error}") from error
    for change in changes:
        data = _changed(data, change)
    try:
        return read(Config, data)
    except ConfigError as error:
        raise ConfigError(f"{name_or_file}: {error}") from error


def config_from_plain(data: object) -> Config:
    """Reads back what `config_to_plain` wrote into a run."""
    return read(Config, data)


def config_to_plain(config: Config) -> Any:
    """The whole config as dicts and lists."""
    return plain(config)


def config_names() -> tuple[str, ...]:
    """Names of the packaged configs."""
    return tuple(sorted(p.stem for p in _packaged_folder().glob("*.yaml")))


def config_file(name_or_file: str) -> Path:
    """Where a config lies.

    Raises:
        ConfigError: neither a file nor a packaged name.
    """
    given = Path(name_or_file)
    if given.suffix in (".yaml", ".yml"):
        if not given.is_file():
            raise ConfigError(f"{given}: no such config file")
        return given
    packaged = _packaged_folder() / f"{name_or_file}.yaml"
    if not packaged.is_file():
        raise ConfigError(
            f"{name_or_file}: no packaged config of that name ({', '.join(config_names())}); "
            "name one of these or a .yaml file"
        )
    return packaged


def _packaged_folder() -> Path:
    inside = Path(str(resources.files("mggr_tf"))) / "configs"
    # In a checkout the configs stand at the top; a wheel carries them inside.
    return inside if inside.is_dir() else inside.parent.parent / "configs"


def _changed(data: Any, change: str) -> Any:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {change}: expected key=value, for example seed=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: the value is not YAML: {error}") from error
    *parents, last = re.findall(r"[^.\[\]]+", key)
    place = data
    for depth, step in enumerate([*parents, last]):
        index = _index(place, step, change)
        if depth == len(parents):
            place[index] = value
        elif isinstance(place, dict) and index not in place:
            place = place.setdefault(index, {})
        else:
            place = place[index]
    return data


def _index(place: Any, step: str, change: str) -> Any:
    if isinstance(place, list):
        if not step.isdigit() or int(step) >= len(place):
            raise ConfigError(f"--set {change}: {step!r} is no index of a list of {len(place)}")
        return int(step)
    if not isinstance(place, dict):
        raise ConfigError(f"--set {change}: there is nothing below {step!r}")
    return step
