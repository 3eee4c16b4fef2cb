"""Whatever a file or an address holds: a success or one line, in time, and nobody's file is lost.

Every case is a number; `tests/helpers/fuzzing.py` says what it is made into and judged by. A case
that fails here is tried alone with `python tests/helpers/fuzzing_campaign.py KIND SEED 1`.
"""

from __future__ import annotations

import pytest

from fuzzing_campaign import campaign

COUNTS = {
    "image": 140,
    "video": 110,
    "contract": 90,
    "bundle": 100,
    "address": 100,
    "table": 30,
    "profile": 30,
    "correction": 30,
}
"""Kind -> how many seeds, from 0 on: 630, of which the bundles are all tampered with."""

FIRST = 40
"""How many seeds of each kind the extended tests try. The slow tests try all."""

REGRESSIONS = {
    "image": {
        "a WebP of thirty bytes held two gigabytes": (19, 34),
        "vast pictures that are whole took minutes": (6, 12, 36, 49),
    },
    "video": {
        "a Matroska file that begins late was taken for one cut short": (45,),
        "PCM sound in an MP4 left a file that nobody could read": (59, 71, 73),
    },
    "contract": {
        "deep nesting was a traceback": (1, 19, 32, 50, 82),
        "a contract that is no UTF-8 was a traceback": (2, 24, 35, 42, 62, 80),
    },
    "bundle": {
        "a pipe or a link that leads nowhere was passed over": (0, 19, 48, 56),
        "a zip's declared sizes were not looked at": (3, 7, 35, 66),
        "an encrypted zip was a traceback": (9, 13),
        "LZMA's own error was a traceback": (96,),
        "files larger than the memory were read": (17, 22, 42, 94),
        "a name twice in a zip, and either was read": (34,),
        "links in a zip": (37,),
        "names that lead out of a zip": (39, 40),
        "a name twice in SHA256SUMS, and the last counted": (43, 91),
    },
    "address": {
        "names too long for the system were a traceback": (0, 5),
        "endless names were printed whole": (27, 48, 74),
        "passwords behind a user with odd signs were shown": (9, 19, 22, 54, 84),
        "passwords with a line's end were shown": (6, 21, 31, 40),
        "passwords of addresses that were taken for files were shown": (4, 55, 59, 80),
    },
    "profile": {
        "deep nesting was a traceback, too": (5, 9, 31, 57),
        "a number that no float holds was a traceback": (48,),
        "an angle beyond all angles was a traceback": (93,),
    },
}
"""Kind -> what went wrong once -> the seeds that showed it."""


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize("kind", REGRESSIONS)
def test_what_went_wrong_once_does_not_again(kind: str) -> None:
    if kind == "video":
        pytest.importorskip("av")
    names = {seed: name for name, seeds in REGRESSIONS[kind].items() for seed in seeds}
    faults = [v for v in campaign(kind, names) if v.fault]
    assert {names[v.seed]: str(v) for v in faults} == {}


@pytest.mark.processes
@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize(
    "part",
    [
        pytest.param("first", marks=pytest.mark.extended),
        pytest.param("rest", marks=pytest.mark.slow),
    ],
)
def test_fuzzed_input_ends_in_success_or_in_one_line(kind: str, part: str) -> None:
    if kind == "video":
        pytest.importorskip("av")
    seeds = range(COUNTS[kind])
    seeds = seeds[:FIRST] if part == "first" else seeds[FIRST:]
    if not seeds:
        pytest.skip("the extended tests try all seeds of this kind")
    verdicts = list(campaign(kind, seeds))
    assert len(verdicts) == len(seeds)
    assert [str(verdict) for verdict in verdicts if verdict.fault] == []
