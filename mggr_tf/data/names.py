"""Parse subject names on the command line, and create the names of synthetic subjects.

A synthetic subject is a computer-generated person. The subject `drawn-1-00042` has the seed 1 and
the index 42 (counted from 0). `mggr-tf data synth` writes patches of synthetic subjects to a
folder. Training can also render such patches in memory. A subject has the same name in a folder and
in memory.

Earlier versions named this subject `00042` in memory and `0043` in a folder. Files of earlier
versions can still be read. If the seed is known, the old names in these files are converted to
current names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from mggr_edge.errors import DataError

_PART = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^",]*))\s*(?:,|$)')
_NUMBERED = re.compile(r"(?P<prefix>(?:.*\D)?)(?P<number>\d+)")
_RANGE = re.compile(r"(?P<prefix>(?:.*\D)?)(?P<first>\d+)-(?P=prefix)(?P<last>\d+)")


def parse_subjects(text: str) -> tuple[str, ...]:
    """Parse subject names, for example `0001-0032`, `0003,0007,0010-0012` or `anna,bert smith`.

    Text in double quotes is a single name. `"Smith, Anna"` is therefore one subject, and
    `"0001-0003"` is one subject, not a range.

    Example:
        >>> parse_subjects("p08-p10,anna")
        ('p08', 'p09', 'p10', 'anna')
        >>> parse_subjects('bert smith, "Smith, Anna"')
        ('bert smith', 'Smith, Anna')

    Raises:
        DataError: the text does not match this syntax.
    """
    names: list[str] = []
    for part, quoted in _parts(text):
        if not part or (not quoted and "-" in (part[0], part[-1])):
            raise DataError(
                f"subjects: expected 0001-0032 or 0003,0007 or anna,bert, got {text!r}; if a name "
                'contains a comma or looks like a range, put it in double quotes: "Smith, Anna"',
                code="subjects-syntax",
                found=text,
            )
        span = None if quoted else _RANGE.fullmatch(part)
        if span is None:
            names.append(part)
            continue
        first, last = int(span["first"]), int(span["last"])
        if last < first:
            raise DataError(
                f"subjects: the range {part!r} ends before it begins; swap its two ends",
                code="subjects-range-reversed",
                found=part,
            )
        width = len(span["first"])
        names += [f"{span['prefix']}{number:0{width}d}" for number in range(first, last + 1)]
    return tuple(dict.fromkeys(names))


def subjects_text(names: Iterable[str]) -> str | None:
    """Sort names and format them as a text for `parse_subjects`.

    Returns:
        the text, or `None` if `parse_subjects` would return other names for this text.

    Example:
        >>> subjects_text(["0007", "0001", "0002", "0003"])
        '0001-0003,0007'
    """
    ordered = sorted(set(names))
    if not ordered:
        return None
    runs: list[list[str]] = [[ordered[0]]]
    for before, name in pairwise(ordered):
        if _follows(before, name):
            runs[-1].append(name)
        else:
            runs.append([name])
    text = ",".join(_quoted(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    try:
        return text if parse_subjects(text) == tuple(ordered) else None
    except DataError:
        return None


def names_text(names: Iterable[str]) -> str:
    """Format names for `parse_subjects` in the given order, without ranges.

    Example:
        >>> names_text(["0001", "Smith, Anna"])
        '0001,"Smith, Anna"'
    """
    return ",".join(map(_quoted, names))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yield tuples (text, quoted). The text is a name or a range without quotes.

    After a syntax error, yield an empty name and stop.
    """
    at = 0
    while at <= len(text):
        match = _PART.match(text, at)
        if match is None:
            yield "", False
            return
        quoted = match["quoted"]
        if quoted is None:
            yield match["plain"].strip(), False
        else:
            yield quoted.replace('""', '"'), True
        if match.end() == len(text) and not match[0].endswith(","):
            return
        at = match.end()


def _quoted(name: str) -> str:
    """Return the name. If `parse_subjects` requires quotes around the name, add them."""
    try:
        if parse_subjects(name) == (name,):
            return name
    except DataError:
        pass
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _follows(before: str, name: str) -> bool:
    one, other = _NUMBERED.fullmatch(before), _NUMBERED.fullmatch(name)
    return (
        one is not None
        and other is not None
        and one["prefix"] == other["prefix"]
        and len(one["number"]) == len(other["number"])
        and int(other["number"]) == int(one["number"]) + 1
    )


SYNTHETIC = "synthetic"
"""The name of the synthetic data source. Training renders its patches in memory."""

SYNTHETIC_LICENCE = "Apache-2.0 (drawn by mggr-tf)"
SYNTHETIC_MARK = "SYNTHETIC"
"""The name of the file that marks a folder of synthetic patches. The file contains the seed."""

FIRST_IN_MEMORY: Literal[0] = 0
FIRST_IN_FOLDER: Literal[1] = 1
"""Earlier versions gave the first subject of a seed this number: 0 in memory, 1 in a folder."""

DRAWN_NAME = r"drawn-\d+-\d+"
"""A regular expression that matches the names of synthetic subjects."""

_NAME = re.compile(r"drawn-(?P<seed>\d+)-(?P<index>\d+)")
_SEED = re.compile(r"\bseed (?P<seed>\d+)\b")


@dataclass(frozen=True)
class DrawnPerson:
    """A synthetic subject. `draw_subject([seed, index])` creates this subject."""

    seed: int
    index: int


def drawn_name(seed: int, index: int) -> str:
    """Return the name of a synthetic subject.

    Example:
        >>> drawn_name(1, 42)
        'drawn-1-00042'
    """
    return f"drawn-{seed}-{index:05d}"


def drawn_person(name: str) -> DrawnPerson | None:
    """Return the synthetic subject with this name.

    For all other names, return `None`.
    """
    match = _NAME.fullmatch(name)
    return None if match is None else DrawnPerson(int(match["seed"]), int(match["index"]))


def drawn_seed(folder: Path) -> int | None:
    """Return the seed of a folder that `mggr-tf data synth` wrote.

    If the folder contains no seed, return `None`.
    """
    try:
        text = (folder / SYNTHETIC_MARK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = _SEED.search(text)
    return None if match is None else int(match["seed"])


def present_name(name: str, *, seed: int | None, first: Literal[0, 1]) -> str:
    """Convert the name of a synthetic subject from an earlier version to the current name.

    Earlier versions used numbers as names.

    Args:
        name: any name. A name that is not a number is returned unchanged.
        seed: seed of the subject. If the seed is `None` (unknown), the name is returned unchanged.
        first: number of the first subject in the earlier version: `FIRST_IN_FOLDER` for a name from
            a folder of patches, otherwise `FIRST_IN_MEMORY`.

    Example:
        >>> present_name("0043", seed=1, first=FIRST_IN_FOLDER)
        'drawn-1-00042'
    """
    if seed is None or not (name.isascii() and name.isdigit()) or int(name) < first:
        return name
    return drawn_name(seed, int(name) - first)


def former_name(name: str, *, first: Literal[0, 1]) -> str:
    """Convert the name of a synthetic subject to its number in earlier versions.

    All other names are returned unchanged.
    """
    person = drawn_person(name)
    return name if person is None else f"{person.index + first:0{5 - first}d}"


def present_names(names: Iterable[str], source: str, *, seed: int) -> tuple[str, ...]:
    """Convert old numbers of synthetic subjects to the current names.

    All other names stay unchanged.

    Args:
        names: names that the user specified.
        source: `synthetic` or a folder.
        seed: seed of the subjects in memory. The seed is used only if `source` is `synthetic`.
    """
    if source == SYNTHETIC:
        return tuple(present_name(name, seed=seed, first=FIRST_IN_MEMORY) for name in names)
    found = drawn_seed(Path(source))
    return tuple(present_name(name, seed=found, first=FIRST_IN_FOLDER) for name in names)
