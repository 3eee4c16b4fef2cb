"""Subject names as they stand on a command line; no heavy import, so help answers at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from mggr_edge.errors import DataError

_PART = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^",]*))\s*(?:,|$)')
_NUMBERED = re.compile(r"(?P<prefix>(?:.*\D)?)(?P<number>\d+)")
_RANGE = re.compile(r"(?P<prefix>(?:.*\D)?)(?P<first>\d+)-(?P=prefix)(?P<last>\d+)")


def parse_subjects(text: str) -> tuple[str, ...]:
    """Reads `0001-0032`, `0003,0007,0010-0012`, `p00-p09` or `anna,bert smith`.

    A name in double quotes is taken as it is: `"Smith, Anna"`, or `"0001-0003"` for a person of
    that name.

    Example:
        >>> parse_subjects("p08-p10,anna")
        ('p08', 'p09', 'p10', 'anna')
        >>> parse_subjects('bert smith, "Smith, Anna"')
        ('bert smith', 'Smith, Anna')

    Raises:
        DataError: not of that form.
    """
    names: list[str] = []
    for part, quoted in _parts(text):
        if not part or (not quoted and "-" in (part[0], part[-1])):
            raise DataError(
                f"subjects: expected 0001-0032 or 0003,0007 or anna,bert, got {text!r}; a name "
                'with a comma or a range\'s dash goes into double quotes: "Smith, Anna"'
            )
        span = None if quoted else _RANGE.fullmatch(part)
        if span is None:
            names.append(part)
            continue
        first, last = int(span["first"]), int(span["last"])
        if last < first:
            raise DataError(f"subjects: {part!r} runs backwards")
        width = len(span["first"])
        names += [f"{span['prefix']}{number:0{width}d}" for number in range(first, last + 1)]
    return tuple(dict.fromkeys(names))


def subjects_text(names: Iterable[str]) -> str | None:
    """Writes names, sorted, as `parse_subjects` reads them; None where it would read others.

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
    """Writes names one by one, in their order, as `parse_subjects` reads them.

    Example:
        >>> names_text(["0001", "Smith, Anna"])
        '0001,"Smith, Anna"'
    """
    return ",".join(map(_quoted, names))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """(name or range, whether it was quoted); of what cannot be read one empty name."""
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
    """The name as `parse_subjects` reads it back."""
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
