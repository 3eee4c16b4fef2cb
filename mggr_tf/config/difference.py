"""Where two configs differ, key by key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mggr_tf.config import Config, config_to_plain

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
