"""Subject names as they stand on a command line; no heavy import, so help answers at once."""

from __future__ import annotations

from mggr_edge.errors import DataError


def parse_subjects(text: str) -> tuple[str, ...]:
    """Reads `0001-0032` or `0003,0007,0010-0012`.

    Raises:
        DataError: not of that form.
    """
    names: list[str] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise DataError(f"subjects: expected 0001-0032 or 0003,0007, got {text!r}")
        end = int(last) if dash else int(first)
        if end < int(first):
            raise DataError(f"subjects: {part.strip()!r} runs backwards")
        names += [f"{number:0{len(first)}d}" for number in range(int(first), end + 1)]
    return tuple(dict.fromkeys(names))
