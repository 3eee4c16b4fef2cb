"""JSON documents whose values, keys or encoding are not what they should be."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

Rng = np.random.Generator

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 63, 65, 10**9, 10**400, -(10**30), 0.5, -0.0, 1e-320, 1e308,
    float("nan"), float("inf"), float("-inf"), "", "x", "64", "\ud800", "\0", "a\nb", [], {}, [[]],
    [1], [0, 0], [1, 2, 3], {"a": 1}, "../../etc/passwd", "/etc/passwd", "x" * 100_000,
)  # fmt: skip


def mutated_text(rng: Rng, data: Any) -> tuple[bytes, str]:
    """A document of which something is other; and what.

    Returns:
        its bytes, in UTF-8 more often than not.
    """
    data = copy.deepcopy(data)
    what = _mutate(rng, data) + "; "
    text = json.dumps(data)
    match rng.integers(14):
        case 0:
            depth = int(rng.choice([500, 5_000, 100_000]))
            bracket = ("[", "]") if rng.random() < 0.5 else ('{"a":', "}")
            deep = bracket[0] * depth + "1" + bracket[1] * depth
            text = deep if rng.random() < 0.3 else text[:-1] + f', "deep": {deep}}}'
            what = f"{depth} deep"
        case 1:
            text, what = text[: int(rng.integers(len(text)))], "cut"
        case 2:
            first = next(iter(data), "a") if isinstance(data, dict) else "a"
            text, what = text[:-1] + f", {json.dumps(first)}: 1}}", "a key twice"
        case 3:
            text, what = text + " {}", "more behind it"
        case 4:
            number = "9" * int(rng.choice([100, 5000]))
            text, what = text.replace("1", number, 1), "a long number"
    encoding = str(rng.choice(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "latin-1", "noise"]))
    if encoding == "noise":
        content = text.encode()
        at = int(rng.integers(len(content) + 1))
        return content[:at] + b"\xff\xfe" + content[at:], what + "noise in it"
    return text.encode(encoding, errors="replace"), what + (encoding if encoding != "utf-8" else "")


def _mutate(rng: Rng, data: Any) -> str:
    parent, last, place = _place(rng, data)
    match rng.integers(4):
        case 0 if isinstance(parent, dict):
            del parent[last]
            return f"without {place}"
        case 1 if isinstance(parent, dict):
            key = str(rng.choice(["unknown", str(last).upper(), "", f"{last} ", "__class__"]))
            parent[key] = parent[last]
            return f"{key!r} beside {place}"
        case 2 if isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
            return f"{place} twice"
    value = _VALUES[rng.integers(len(_VALUES))]
    parent[last] = copy.deepcopy(value)
    return f"{place} is {value!r:.30}"


def _place(rng: Rng, data: Any) -> tuple[Any, Any, str]:
    """Down from the top, at each step anywhere: so what has few leaves is met as often."""
    parent, place = data, ""
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = keys[rng.integers(len(keys))]
        place += f"/{key}"
        if not isinstance(parent[key], (dict, list)) or not parent[key] or rng.random() < 0.2:
            return parent, key, place
        parent = parent[key]
