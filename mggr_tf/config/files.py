"""Finds and reads configs: packaged ones by name, any by file, with changes from a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from mggr_edge.errors import ConfigError
from mggr_tf.config import Config, config_from_plain, config_to_plain

_EXPONENT = re.compile(r"[-+]?\d+\.?\d*[eE][-+]?\d+")
"""`1e-4` is a word to YAML 1.1, which wants `1.0e-4`; nobody who types it means a word."""


def load_config(name_or_file: str, *, changes: Iterable[str] = ()) -> Config:
    """Reads a packaged config by name (`mggr-edge`) or any by file.

    Args:
        name_or_file: name of a packaged config, or a path to a .yaml.
        changes: `key=value` with dotted keys, as `--set` takes them; values are YAML,
            elements of a list go by index or by their `name`.

    Raises:
        ConfigError: no such config, or one that does not fit; the message names the path.
    """
    file = config_file(name_or_file)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name_or_file}: not YAML: {error}") from error
    try:
        return changed_config(config_from_plain(data), changes)
    except ConfigError as error:
        raise ConfigError(f"{name_or_file}: {error}") from error


def changed_config(config: Config, changes: Iterable[str]) -> Config:
    """A config with some values changed, defaults that its file does not name among them.

    Args:
        config: stays as it is.
        changes: `key=value`, as in `load_config`.

    Raises:
        ConfigError: a change that does not fit.
    """
    data = config_to_plain(config)
    for change in changes:
        data = _changed(data, change)
    return config_from_plain(data)


def config_names() -> tuple[str, ...]:
    """Names of the packaged configs."""
    return tuple(sorted(p.stem for p in packaged_folder().glob("*.yaml")))


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
    packaged = packaged_folder() / f"{name_or_file}.yaml"
    if not packaged.is_file():
        raise ConfigError(
            f"{name_or_file}: no packaged config of that name ({', '.join(config_names())}); "
            "name one of these or a .yaml file"
        )
    return packaged


def packaged_folder() -> Path:
    """The folder of packaged configs."""
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
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
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
        return _index_in_list(place, step, change)
    if not isinstance(place, dict):
        raise ConfigError(f"--set {change}: there is nothing below {step!r}")
    return step


def _index_in_list(place: list[Any], step: str, change: str) -> int:
    """A number, or the name of the one element that has it (`losses.ssim.weight=0`)."""
    if step.isdigit() and int(step) < len(place):
        return int(step)
    named = [i for i, item in enumerate(place) if isinstance(item, dict) and _named(item, step)]
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigError(f"--set {change}: {step!r} stands {len(named)} times; give its index")
    raise ConfigError(f"--set {change}: {step!r} is no index or name in a list of {len(place)}")


def _named(item: dict[str, Any], name: str) -> bool:
    return bool(item.get("name") == name)
