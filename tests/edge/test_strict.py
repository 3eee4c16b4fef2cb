"""Strict reading: every complaint names its path."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError
from refusals import refusal


@dataclass(frozen=True)
class Part:
    name: Literal["a", "b"]
    weight: float = 1.0


@dataclass(frozen=True)
class Other:
    height: int
    weight: float = 1.0


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    size: tuple[int, int] = (1, 2)
    notes: dict[str, int] = field(default_factory=dict)
    seed: int | None = None
    either: Part | Other | None = None


@pytest.mark.parametrize(
    ("data", "code", "at", "fields"),
    [
        ({"parts": [{"name": "a", "w": 1}]}, "unknown-key", "parts[0]", {"key": "w"}),
        ({"parts": [{"name": "c"}]}, "value-not-allowed", "parts[0].name", {"found": "'c'"}),
        (
            {"parts": [{"name": "a", "weight": "x"}]},
            "wrong-type",
            "parts[0].weight",
            {"expected": "float", "found": "'x'"},
        ),
        (
            {"parts": [{"name": "a", "weight": True}]},
            "wrong-type",
            "parts[0].weight",
            {"expected": "float", "found": True},
        ),
        ({}, "missing-key", "top level", {"key": "parts"}),
        ({"parts": [], "size": [1]}, "wrong-length", "size", {"found": "[1]"}),
        (
            {"parts": [], "size": [1, 2.5]},
            "wrong-type",
            "size[1]",
            {"expected": "int", "found": 2.5},
        ),
        (
            {"parts": [], "notes": {"k": "v"}},
            "wrong-type",
            "notes.k",
            {"expected": "int", "found": "'v'"},
        ),
        ({"parts": {}}, "wrong-type", "parts", {"expected": "a list"}),
        ({"parts": [], "either": {"height": 1, "w": 2}}, "unknown-key", "either", {"key": "w"}),
        (
            {"parts": [], "either": {"name": "c", "weight": 2}},
            "value-not-allowed",
            "either.name",
            {"expected": "one of 'a', 'b'"},
        ),
        ({"parts": [], "either": 3}, "wrong-type", "either", {"expected": "Part or Other"}),
        ([], "wrong-type", "top level", {"found": "[]"}),
        ({"parts": [{"name": "a", "weight": 10**400}]}, "number-too-large", "parts[0].weight", {}),
    ],
)
def test_complaints_name_the_path(data, code, at, fields):
    with refusal(ConfigError, code, at=at, **fields) as caught:
        read(Whole, data)
    assert str(caught.value).startswith(f"{at}: ")


parts = st.builds(Part, name=st.sampled_from("ab"), weight=st.floats(-1e6, 1e6))


@given(
    st.builds(
        Whole,
        parts=st.lists(parts, max_size=3).map(tuple),
        size=st.tuples(st.integers(), st.integers()),
        notes=st.dictionaries(st.text(), st.integers(), max_size=3),
        seed=st.none() | st.integers(),
        either=st.none() | parts | st.builds(Other, height=st.integers()),
    )
)
def test_round_trip(whole):
    assert read(Whole, plain(whole)) == whole


def test_whole_numbers_stand_for_floats():
    assert read(Part, {"name": "a", "weight": 2}) == Part("a", 2.0)
