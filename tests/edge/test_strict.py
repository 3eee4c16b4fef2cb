"""Strict reading: every complaint names its path."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.common.schema import plain, read
from mggr_edge.errors import ConfigError


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
    ("data", "message"),
    [
        ({"parts": [{"name": "a", "w": 1}]}, r"parts\[0\]: unknown key 'w'"),
        ({"parts": [{"name": "c"}]}, r"parts\[0\].name: expected one of 'a', 'b', got 'c'"),
        ({"parts": [{"name": "a", "weight": "x"}]}, r"parts\[0\].weight: expected float, got 'x'"),
        ({"parts": [{"name": "a", "weight": True}]}, r"parts\[0\].weight: expected float"),
        ({}, "top level: key 'parts' is missing"),
        ({"parts": [], "size": [1]}, "size: expected a list of 2"),
        ({"parts": [], "size": [1, 2.5]}, r"size\[1\]: expected int, got 2.5"),
        ({"parts": [], "notes": {"k": "v"}}, "notes.k: expected int"),
        ({"parts": {}}, "parts: expected a list"),
        ({"parts": [], "either": {"height": 1, "w": 2}}, "either: unknown key 'w'"),
        ({"parts": [], "either": {"name": "c", "weight": 2}}, "either.name: expected one of 'a'"),
        ({"parts": [], "either": 3}, "either: expected Part or Other"),
        ([], "top level: expected a mapping"),
    ],
)
def test_complaints_name_the_path(data, message):
    with pytest.raises(ConfigError, match=message):
        read(Whole, data)


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
