"""Nobody is both calibrated on and compared."""

import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_export.eyes.export_eyes import refuse_shared_people, separate_people
from mggr_tf.data.schema import make_samples
from refusals import refusal


def people(counts):
    """Patches of one head pose: name -> how many of that person."""
    subjects = [name for name, count in counts.items() for _ in range(count)]
    return make_samples(
        np.zeros((len(subjects), 8, 8, 3), np.uint8),
        gaze_deg=np.float32([[0, n] for n in range(len(subjects))]),
        head_deg=np.zeros((len(subjects), 2), np.float32),
        sides=["right"] * len(subjects),
        subjects=subjects,
        source="folder",
        licence="Apache-2.0",
    )


def pairs_of(names):
    return people(dict.fromkeys(names, 2))


def names_of(parts):
    return tuple("".join(part.subjects) for part in parts)


def test_one_folder_is_dealt_out_to_both_sides_the_same_way_every_time():
    everyone, again = pairs_of("abcdefgh"), pairs_of("hgfedcba")
    compared, calibration = names_of(separate_people(everyone, everyone))
    assert (len(compared), len(calibration)) == (2, 6)
    assert not {*compared} & {*calibration}
    assert names_of(separate_people(again, again)) == (compared, calibration)
    two = pairs_of("ab")
    assert sorted(names_of(separate_people(two, two))) == ["a", "b"]


def test_different_people_are_left_as_they_are():
    assert names_of(separate_people(pairs_of("a"), pairs_of("b"))) == ("a", "b")


@pytest.mark.parametrize(
    ("compared", "calibration", "expected"),
    [("abc", "bc", ("a", "bc")), ("bc", "abc", ("bc", "a")), ("ab", "bc", ("a", "bc"))],
)
def test_people_of_both_folders_stay_where_others_are_missing(compared, calibration, expected):
    found = separate_people(pairs_of(compared), pairs_of(calibration))
    assert names_of(found) == expected


def test_a_person_without_a_pair_does_not_count():
    everyone = people({"a": 2, "b": 1})
    with refusal(DataError, "only-one-person", source="folder", person="a"):
        separate_people(everyone, everyone)


def test_shared_people_are_refused_by_name():
    refuse_shared_people(("a", "b"), ("c",))
    with refusal(DataError, "people-in-both", count=1, people="b"):
        refuse_shared_people(("a", "b"), ("b", "c"))
