"""Convert JSON or YAML data to frozen dataclasses, with strict checks.

These rules apply to configs and to contracts. Every key must be known. Every key without a default
must be present. Every value must have its declared type, but an integer is also accepted as a
float. Each error message contains the path of the key, for example `losses[0]: unknown key 'w'`.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from mggr_edge.errors import ConfigError

T = TypeVar("T")

_TOP = "top level"
"""Start of an error message about the top level of the data, where there is no path."""


def read(kind: type[T], data: object, *, path: str = "") -> T:
    """Create an instance of the frozen dataclass `kind` from mappings, lists and scalars.

    Supported field types: str, int, float, bool, Any, None, Literal, nested
    dataclasses, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]` and unions.

    Args:
        kind: the dataclass to create.
        data: the data that a JSON or YAML parser returned.
        path: the path of `data` in its file, for error messages.

    Raises:
        ConfigError: a key or value does not match the dataclass. The message contains the path of
            the key.
    """
    return typing.cast(T, _read(kind, data, path))


def read_json(text: str) -> Any:
    """Parse JSON strictly.

    NaN, infinity, duplicate keys, and nesting beyond Python's recursion limit are rejected.

    Raises:
        ValueError: the text is not valid JSON. The message contains the reason.
    """
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_keys_once)
    except RecursionError:
        raise ValueError("it has too many levels of nesting") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a valid number")


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"duplicate key {twice!r}")
    return found


def plain(value: object) -> Any:
    """Convert dataclasses and tuples recursively to dicts and lists, as the inverse of `read`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _read(kind: Any, data: object, path: str) -> Any:
    if kind is Any:
        return data
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), data, path)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, data, path)
    if origin is typing.Literal:
        if data not in arguments:
            expected = f"one of {', '.join(map(repr, arguments))}"
            raise _misfit(path, expected, data, code="value-not-allowed")
        return data
    if origin is tuple:
        return _read_tuple(arguments, data, path)
    if origin is dict:
        if not isinstance(data, Mapping):
            raise _misfit(path, "a mapping", data)
        return {str(k): _read(arguments[1], v, _join(path, str(k))) for k, v in data.items()}
    return _read_scalar(kind, data, path)


def _read_dataclass(kind: type, data: object, path: str) -> Any:
    if not isinstance(data, Mapping):
        raise _misfit(path, f"a mapping with the keys of {kind.__name__}", data)
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            known = ", ".join(fields)
            raise ConfigError(
                f"{path or _TOP}: unknown key {key!r}; known keys: {known}",
                code="unknown-key",
                at=path or _TOP,
                key=key,
                known=known,
            )
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _read(hints[name], data[name], _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(
                f"{path or _TOP}: key {name!r} is missing",
                code="missing-key",
                at=path or _TOP,
                key=name,
            )
    try:
        return kind(**values)
    except ValueError as error:  # __post_init__ rejected a value that is out of range
        raise ConfigError(
            f"{path or _TOP}: {error}", code="invalid-value", at=path or _TOP, reason=str(error)
        ) from error


def _read_tuple(arguments: tuple[Any, ...], data: object, path: str) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)):
        raise _misfit(path, "a list", data)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_read(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(data))
    if len(data) != len(arguments):
        raise _misfit(path, f"a list of {len(arguments)}", data, code="wrong-length")
    pairs = enumerate(zip(arguments, data, strict=True))
    return tuple(_read(kind, item, f"{path}[{i}]") for i, (kind, item) in pairs)


def _read_union(arguments: tuple[Any, ...], data: object, path: str) -> Any:
    if data is None and type(None) in arguments:
        return None
    others = [kind for kind in arguments if kind is not type(None)]
    if len(others) == 1:
        return _read(others[0], data, path)
    dataclass_kinds = [kind for kind in others if dataclasses.is_dataclass(kind)]
    if isinstance(data, Mapping) and dataclass_kinds:
        # Use the dataclass that has the most keys in common with `data`. Then the error names the
        # incorrect key.
        return _read(max(dataclass_kinds, key=lambda kind: _shared_keys(kind, data)), data, path)
    for kind in others:
        try:
            return _read(kind, data, path)
        except ConfigError:
            continue
    raise _misfit(path, " or ".join(_name(kind) for kind in others), data)


def _shared_keys(kind: Any, data: Mapping[Any, Any]) -> int:
    return len({field.name for field in dataclasses.fields(kind)} & set(data))


def _read_scalar(kind: Any, data: object, path: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        try:
            return float(data)
        except OverflowError:
            expected = "a number in the range of a float"
            raise _misfit(path, expected, data, code="number-too-large") from None
    if isinstance(data, bool) and kind is not bool:
        raise _misfit(path, _name(kind), data)
    if kind is type(None):
        if data is not None:
            raise _misfit(path, "null", data)
        return None
    if not isinstance(data, kind):
        raise _misfit(path, _name(kind), data)
    return data


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def _misfit(path: str, expected: str, got: object, *, code: str = "wrong-type") -> ConfigError:
    shown = repr(got) if len(repr(got)) < 60 else type(got).__name__
    return ConfigError(
        f"{path or _TOP}: expected {expected}, got {shown}",
        code=code,
        at=path or _TOP,
        expected=expected,
        found=shown,
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
