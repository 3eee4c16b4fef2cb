"""Finds, reads, changes and compares configs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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


_MOST_SHOWN = 12


@dataclass(frozen=True)
class Difference:
    """One key that two configs have different values of.

    Attributes:
        key: dotted, as `--set` takes it.
        before: the first one's value; empty where it has none.
        after: the second one's.
    """

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key} {self.before or 'nothing'} -> {self.after or 'nothing'}"


def differences(before: Config, after: Config) -> tuple[Difference, ...]:
    """What changed between two configs, in the order of the first one's keys.

    Example:
        >>> from mggr_tf.config.files import load_config
        >>> one = load_config("mggr-edge")
        >>> changes = ["seed=2", "stages.joint.losses.lpips.weight=9"]
        >>> other = load_config("mggr-edge", changes=changes)
        >>> print(in_words(differences(one, other)))
        stages.joint.losses.lpips.weight 1.0 -> 9.0; seed 1 -> 2
    """
    first, second = (dict(leaves(config_to_plain(config))) for config in (before, after))
    keys = [*first, *(key for key in second if key not in first)]
    return tuple(
        Difference(key, first.get(key, ""), second.get(key, ""))
        for key in keys
        if first.get(key) != second.get(key)
    )


def in_words(found: tuple[Difference, ...]) -> str:
    """Differences as a part of one line; of very many the first ones, and how many more."""
    shown = [str(one) for one in found[:_MOST_SHOWN]]
    more = len(found) - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value in dicts and lists, in words, with its dotted key.

    An element of a list of dicts goes by its name where no other has it, as in `--set`.

    Example:
        >>> dict(leaves({"a": [1, 2], "b": [{"name": "l1", "weight": 2.0}]}))
        {'a': '[1, 2]', 'b.l1.name': 'l1', 'b.l1.weight': '2.0'}
    """
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(part, dict) for part in value):
        for name, part in zip(_names(value), value, strict=True):
            yield from leaves(part, f"{path}.{name}")
    else:
        yield path, str(value)


def _names(parts: list[Any] | tuple[Any, ...]) -> list[str]:
    names = [str(part.get("name", "")) if isinstance(part, dict) else "" for part in parts]
    unique = [name for name in names if name and names.count(name) == 1]
    return [name if name in unique else str(number) for number, name in enumerate(names)]
