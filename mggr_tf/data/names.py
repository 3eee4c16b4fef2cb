"""Subject names: command line syntax, and names of synthetic subjects.

`drawn-1-00042` is the synthetic subject with index 42 (counted from 0) and seed 1. The name is the
same for patches that `mggr-tf data synth` writes to a folder and for patches that training renders
in memory. Earlier versions named this subject `00042` in memory and `0043` in a folder. Folders,
packs, runs and bundles of those versions can still be read: if the seed is known, their names are
converted to the current form.
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
    """Parse `0001-0032`, `0003,0007,0010-0012`, `p00-p09` or `anna,bert smith`.

    A name in double quotes is used literally: `"Smith, Anna"`, or `"0001-0003"` for a subject with
    that name.

    Example:
        >>> parse_subjects("p08-p10,anna")
        ('p08', 'p09', 'p10', 'anna')
        >>> parse_subjects('bert smith, "Smith, Anna"')
        ('bert smith', 'Smith, Anna')

    Raises:
        DataError: the text does not have this form.
    """
    names: list[str] = []
    for part, quoted in _parts(text):
        if not part or (not quoted and "-" in (part[0], part[-1])):
            raise DataError(
                f"subjects: expected 0001-0032 or 0003,0007 or anna,bert, got {text!r}; a name "
                'with a comma or in the form of a range needs double quotes: "Smith, Anna"',
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
                f"subjects: the range {part!r} ends before it begins; swap its ends",
                code="subjects-range-reversed",
                found=part,
            )
        width = len(span["first"])
        names += [f"{span['prefix']}{number:0{width}d}" for number in range(first, last + 1)]
    return tuple(dict.fromkeys(names))


def subjects_text(names: Iterable[str]) -> str | None:
    """Format names, sorted, for `parse_subjects`; return None if it would parse to other names.

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
    """Yield (name or range, whether it was quoted); for a syntax error, yield an empty name."""
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
    """Return the name, with quotes if `parse_subjects` needs them."""
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
"""Name of the data source whose patches are rendered in memory during training."""

SYNTHETIC_LICENCE = "Apache-2.0 (drawn by mggr-tf)"
SYNTHETIC_MARK = "SYNTHETIC"
"""Name of the file that marks a folder of synthetic patches. Its text contains the seed."""

FIRST_IN_MEMORY: Literal[0] = 0
FIRST_IN_FOLDER: Literal[1] = 1
"""Numbers of the first subject of a seed in earlier versions: in memory and in a folder."""

DRAWN_NAME = r"drawn-\d+-\d+"
"""Regular expression of the names of synthetic subjects."""

_NAME = re.compile(r"drawn-(?P<seed>\d+)-(?P<index>\d+)")
_SEED = re.compile(r"\bseed (?P<seed>\d+)\b")


@dataclass(frozen=True)
class DrawnPerson:
    """A synthetic subject: `draw_subject([seed, index])`."""

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
    """Return the synthetic subject with this name, or None for any other name."""
    match = _NAME.fullmatch(name)
    return None if match is None else DrawnPerson(int(match["seed"]), int(match["index"]))


def drawn_seed(folder: Path) -> int | None:
    """Return the seed of a folder that `mggr-tf data synth` wrote, or None if there is none."""
    try:
        text = (folder / SYNTHETIC_MARK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = _SEED.search(text)
    return None if match is None else int(match["seed"])


def present_name(name: str, *, seed: int | None, first: Literal[0, 1]) -> str:
    """Convert the number of a synthetic subject in an earlier version to the current name.

    Args:
        name: name of any form. Names that are not numbers are returned unchanged.
        seed: seed of the subject; if None (unknown), the name is returned unchanged.
        first: number of the seed's first subject, `FIRST_IN_MEMORY` or `FIRST_IN_FOLDER`, depending
            on the origin of the name.

    Example:
        >>> present_name("0043", seed=1, first=FIRST_IN_FOLDER)
        'drawn-1-00042'
    """
    if seed is None or not (name.isascii() and name.isdigit()) or int(name) < first:
        return name
    return drawn_name(seed, int(name) - first)


def former_name(name: str, *, first: Literal[0, 1]) -> str:
    """Return the number of a synthetic subject in earlier versions; other names stay unchanged."""
    person = drawn_person(name)
    return name if person is None else f"{person.index + first:0{5 - first}d}"


def present_names(names: Iterable[str], source: str, *, seed: int) -> tuple[str, ...]:
    """Return the current names of subjects that the user may have named by their old numbers.

    Args:
        names: names of any form.
        source: `synthetic`, or a folder.
        seed: seed of the subjects in memory; used only if `source` is `synthetic`.
    """
    if source == SYNTHETIC:
        return tuple(present_name(name, seed=seed, first=FIRST_IN_MEMORY) for name in names)
    found = drawn_seed(Path(source))
    return tuple(present_name(name, seed=found, first=FIRST_IN_FOLDER) for name in names)
