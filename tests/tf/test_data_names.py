"""Subject names on a command line, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.errors import DataError
from mggr_tf.data.names import names_text, parse_subjects, subjects_text
from refusals import refusal


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0001-0003,0007", ["0001", "0002", "0003", "0007"]),
        ("p08-p10", ["p08", "p09", "p10"]),
        ("anna, bert-2,anna", ["anna", "bert-2"]),
        ("a1-b3", ["a1-b3"]),
        ("9-11", ["9", "10", "11"]),
        ("anna maria, bert", ["anna maria", "bert"]),
        ('"Smith, Anna",bert', ["Smith, Anna", "bert"]),
        ('"0001-0003"', ["0001-0003"]),
        ('"a ""b"" c"', ['a "b" c']),
        ("drawn-1-00009-drawn-1-00011", ["drawn-1-00009", "drawn-1-00010", "drawn-1-00011"]),
    ],
)
def test_lists_and_ranges(text, names):
    assert parse_subjects(text) == tuple(names)


@pytest.mark.parametrize("text", ["", ",", "3-", "-3", '"anna', '"a"b'])
def test_what_is_no_list_is_refused(text):
    with refusal(DataError, "subjects-syntax", found=text):
        parse_subjects(text)


def test_a_range_that_runs_backwards_is_refused():
    with refusal(DataError, "subjects-range-reversed", found="0003-0001"):
        parse_subjects("0007,0003-0001")


def test_runs_are_written_short():
    names = [f"{n:04d}" for n in (33, 1, 2, 3, 7, 34)]
    assert subjects_text(names) == "0001-0003,0007,0033-0034"
    assert subjects_text(["p00", "p01", "q02"]) == "p00-p01,q02"


def test_names_that_would_be_read_as_others_are_quoted():
    assert subjects_text(["a1-a3"]) == '"a1-a3"'
    assert subjects_text(["anna, her sister"]) == '"anna, her sister"'
    assert subjects_text([]) is None


@given(st.sets(st.text('ab01-9 ,"', min_size=1, max_size=5), max_size=6))
def test_every_name_can_be_written_and_read_back(names):
    text = subjects_text(names)
    assert (text is None) == (not names)
    assert text is None or set(parse_subjects(text)) == names
    assert not names or parse_subjects(names_text(sorted(names))) == tuple(sorted(names))
