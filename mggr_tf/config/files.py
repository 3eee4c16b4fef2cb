"""Find, read, change and compare config files."""

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
"""Matches numbers such as `1e-4`. YAML 1.1 reads `1e-4` as a string, because YAML 1.1 requires the
form `1.0e-4`. If a value of `--set` matches, it is converted to a number."""


def load_config(name_or_file: str, *, changes: Iterable[str] = ()) -> Config:
    """Read a packaged config by its name, or a config file by its path.

    An example of a name is `mggr-edge`.

    Args:
        name_or_file: name of a packaged config, or path of a `.yaml` or `.yml` file.
        changes: changes of the form `key=value`, as for the option `--set`. Keys are dotted, for
            example `stages.joint.batch`. Values are YAML. For an element of a list, the key
            contains the index or the `name` of the element.

    Raises:
        ConfigError: there is no such config, or the config is not valid. The message contains
            `name_or_file`.
    """
    file = config_file(name_or_file)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{name_or_file} is not valid YAML: {error}", code="file-not-yaml", file=name_or_file
        ) from error
    try:
        return changed_config(config_from_plain(data), changes)
    except ConfigError as error:
        raise ConfigError(
            f"{name_or_file}: {error}", code=error.code, **{**error.fields, "file": name_or_file}
        ) from error


def changed_config(config: Config, changes: Iterable[str]) -> Config:
    """Return a config with some values changed.

    All values can be changed, also default values that are not in the config file.

    Args:
        config: config to change. This object is not modified.
        changes: changes of the form `key=value`, as in `load_config`.

    Raises:
        ConfigError: a change is not valid.
    """
    data = config_to_plain(config)
    for change in changes:
        data = _changed(data, change)
    return config_from_plain(data)


def config_names() -> tuple[str, ...]:
    """Return the names of the packaged configs, sorted."""
    return tuple(sorted(p.stem for p in packaged_folder().glob("*.yaml")))


def config_file(name_or_file: str) -> Path:
    """Return the path of a config.

    Raises:
        ConfigError: there is no such file, or no packaged config has this name.
    """
    given = Path(name_or_file)
    if given.suffix in (".yaml", ".yml"):
        if not given.is_file():
            raise ConfigError(f"{given}: no such config file", code="no-such-file", file=given)
        return given
    packaged = packaged_folder() / f"{name_or_file}.yaml"
    if not packaged.is_file():
        raise ConfigError(
            f"{name_or_file}: no packaged config has this name; choose one of "
            f"{', '.join(config_names())}, or the path of a .yaml file",
            code="no-such-config",
            name=name_or_file,
            known=", ".join(config_names()),
        )
    return packaged


def packaged_folder() -> Path:
    """Return the folder of the packaged configs."""
    inside = Path(str(resources.files("mggr_tf"))) / "configs"
    # A wheel contains the configs inside the package. In a checkout, the configs are in the
    # top-level folder.
    return inside if inside.is_dir() else inside.parent.parent / "configs"


def _changed(data: Any, change: str) -> Any:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(
            f"--set {change}: expected key=value, for example seed=2",
            code="change-without-value",
            change=change,
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {change}: the value is not valid YAML: {error}",
            code="change-not-yaml",
            change=change,
        ) from error
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    *parents, last = re.findall(r"[^.\[\]]+", key)
    place = data
    for depth, step in enumerate([*parents, last]):
        if depth == len(parents) and _is_new_element(place, last, value):
            place.append(value)
            break
        index = _index(place, step, change)
        if depth == len(parents):
            place[index] = value
        elif isinstance(place, dict) and index not in place:
            place = place.setdefault(index, {})
        else:
            place = place[index]
    return data


def _is_new_element(place: Any, name: str, value: Any) -> bool:
    """Return whether a change appends a new element to a list.

    For example, `losses.edges={name: edges, weight: 0.5}` appends a loss.
    """
    is_named = isinstance(value, dict) and _named(value, name)
    return is_named and isinstance(place, list) and not any(_named(one, name) for one in place)


def _index(place: Any, step: str, change: str) -> Any:
    if isinstance(place, list):
        return _index_in_list(place, step, change)
    if not isinstance(place, dict):
        raise ConfigError(
            f"--set {change}: the key {step!r} does not exist, because the value of its parent key "
            "is neither a mapping nor a list",
            code="change-below-value",
            change=change,
            key=step,
        )
    return step


def _index_in_list(place: list[Any], step: str, change: str) -> int:
    """Return the index of a list element.

    `step` is the index or the name of the element. For example, `ssim` is the name in the change
    `losses.ssim.weight=0`.

    Raises:
        ConfigError: no element has the name, or several elements have the name.
    """
    if step.isdigit() and int(step) < len(place):
        return int(step)
    named = [i for i, item in enumerate(place) if _named(item, step)]
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigError(
            f"--set {change}: {len(named)} elements have the name {step!r}; use the index",
            code="change-name-not-unique",
            change=change,
            key=step,
            count=len(named),
        )
    raise ConfigError(
        f"--set {change}: {step!r} is neither an index nor a name in the list of {len(place)} "
        "elements",
        code="change-no-such-element",
        change=change,
        key=step,
        count=len(place),
    )


def _named(item: Any, name: str) -> bool:
    return isinstance(item, dict) and bool(item.get("name") == name)


_MOST_SHOWN = 12


@dataclass(frozen=True)
class Difference:
    """One key whose values differ between two configs.

    Attributes:
        key: key with dots, as for the option `--set`.
        before: value in the first config, as text. Empty if the first config does not contain the
            key.
        after: value in the second config, as text. Empty if the second config does not contain the
            key.
    """

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key} {self.before or '(not set)'} -> {self.after or '(not set)'}"


def differences(before: Config, after: Config) -> tuple[Difference, ...]:
    """Return the differences between two configs, in the order of the keys of the first config.

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
    """Return differences as text on one line.

    If there are more than 12 differences, the text contains the first 12 and the number of the
    remaining differences.
    """
    shown = [str(one) for one in found[:_MOST_SHOWN]]
    more = len(found) - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value in nested dicts and lists as a tuple (key with dots, text of the value).

    In a list of dicts, the key of an element is its `name` if the name is unique. Otherwise the key
    is the index of the element.

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
