"""Names of drawn people: one name for each, made from its seed and its index.

`drawn-1-00042` is person 42, counted from 0, of seed 1, whether `mggr-tf data synth` drew it into
a folder or training drew it in memory. Earlier versions named the same person `00042` in memory
and `0043` in a folder. Folders, packs, runs and bundles of those versions are still read: where
the seed is known, their names become names of this form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SYNTHETIC = "synthetic"
"""The name of the source that training draws in memory."""

SYNTHETIC_LICENCE = "Apache-2.0 (drawn by mggr-tf)"
SYNTHETIC_MARK = "SYNTHETIC"
"""The name of a file that marks a folder of drawn patches; its text contains the seed."""

FIRST_IN_MEMORY: Literal[0] = 0
FIRST_IN_FOLDER: Literal[1] = 1
"""The number that earlier versions gave to the first person of a seed."""

DRAWN_NAME = r"drawn-\d+-\d+"
"""Pattern of the names, for a regular expression."""

_NAME = re.compile(r"drawn-(?P<seed>\d+)-(?P<index>\d+)")
_SEED = re.compile(r"\bseed (?P<seed>\d+)\b")


@dataclass(frozen=True)
class DrawnPerson:
    """A drawn person: `draw_subject([seed, index])`."""

    seed: int
    index: int


def drawn_name(seed: int, index: int) -> str:
    """The name of a drawn person.

    Example:
        >>> drawn_name(1, 42)
        'drawn-1-00042'
    """
    return f"drawn-{seed}-{index:05d}"


def drawn_person(name: str) -> DrawnPerson | None:
    """The person that a name stands for; None for any other name."""
    match = _NAME.fullmatch(name)
    return None if match is None else DrawnPerson(int(match["seed"]), int(match["index"]))


def drawn_seed(folder: Path) -> int | None:
    """The seed of a folder that `mggr-tf data synth` wrote; None if there is none to be found."""
    try:
        text = (folder / SYNTHETIC_MARK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = _SEED.search(text)
    return None if match is None else int(match["seed"])


def present_name(name: str, *, seed: int | None, first: Literal[0, 1]) -> str:
    """The present name of a drawn person whom an earlier version gave a number.

    Args:
        name: any name; other than numbers stay as they are.
        seed: that the person was drawn with; None if nobody knows: the number stays.
        first: the number of the seed's first person, by the place that the name comes from.

    Example:
        >>> present_name("0043", seed=1, first=FIRST_IN_FOLDER)
        'drawn-1-00042'
    """
    if seed is None or not (name.isascii() and name.isdigit()) or int(name) < first:
        return name
    return drawn_name(seed, int(name) - first)


def former_name(name: str, *, first: Literal[0, 1]) -> str:
    """The number that an earlier version gave to a drawn person; other names stay."""
    person = drawn_person(name)
    return name if person is None else f"{person.index + first:0{5 - first}d}"


def present_names(names: Iterable[str], source: str, *, seed: int) -> tuple[str, ...]:
    """The present names of people of a source, which a user may have named by their numbers.

    Args:
        names: in any form.
        source: `synthetic`, or a folder.
        seed: of the people that `synthetic` stands for.
    """
    if source == SYNTHETIC:
        return tuple(present_name(name, seed=seed, first=FIRST_IN_MEMORY) for name in names)
    found = drawn_seed(Path(source))
    return tuple(present_name(name, seed=found, first=FIRST_IN_FOLDER) for name in names)
