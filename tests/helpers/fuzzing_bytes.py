"""Damage to bytes that happens to any file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator


def cut(rng: Rng, content: bytes) -> bytes:
    """Ends somewhere; now and then at once."""
    return content[: int(rng.integers(len(content)))] if rng.random() > 0.1 else b""


def flipped(rng: Rng, content: bytes, *, first: int = 0, last: int | None = None) -> bytes:
    """One to eight bits are others, between two places."""
    changed = bytearray(content)
    last = len(content) if last is None else min(last, len(content))
    for _ in range(int(rng.integers(1, 9)) if last > first else 0):
        changed[int(rng.integers(first, last))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def spliced(rng: Rng, content: bytes) -> bytes:
    """A stretch is gone, there twice, empty, or noise."""
    first = int(rng.integers(len(content)))
    last = min(len(content), first + int(rng.integers(1, 200)))
    stretch = content[first:last]
    put = (b"", 2 * stretch, bytes(len(stretch)), rng.bytes(len(stretch)))[rng.integers(4)]
    return content[:first] + put + content[last:]


def extreme(rng: Rng, content: bytes, *, last: int | None = None) -> bytes:
    """A number somewhere is as large or as small as can be."""
    width = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(max(1, min(len(content), last or len(content)) - width)))
    value = (
        b"\xff" * width,
        bytes(width),
        b"\x7f" + b"\xff" * (width - 1),
        b"\x80" + bytes(width - 1),
    )
    return content[:at] + value[rng.integers(4)] + content[at + width :]


def in_header(rng: Rng, content: bytes) -> bytes:
    """Bits near the beginning."""
    return flipped(rng, content, last=64)


def extreme_in_header(rng: Rng, content: bytes) -> bytes:
    """A number near the beginning."""
    return extreme(rng, content, last=64)


DAMAGES: tuple[Callable[[Rng, bytes], bytes], ...] = (
    cut,
    flipped,
    spliced,
    extreme,
    in_header,
    extreme_in_header,
)


def damaged(rng: Rng, content: bytes) -> tuple[bytes, str]:
    """Damaged in one way; and which."""
    damage = DAMAGES[rng.integers(len(DAMAGES))]
    return damage(rng, content), damage.__name__
