"""Latencies that can be compared although the machine is busy elsewhere.

Contestants take turns: one call each, round after round. Whatever slows the machine down for a
moment slows all of them, and ratios are taken within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

WARM_UP = 5
"""Untimed calls of each contestant: runtimes allocate and pack weights in the first."""

FEWEST_ROUNDS = 20
"""Run even when the time is up; below, a 95th percentile is hardly one."""

Call = Callable[[], object]


def interleaved(
    calls: Sequence[Call],
    *,
    seconds: float,
    clock: Callable[[], int] = time.perf_counter_ns,
    advance: Callable[[int], None] = lambda n: None,
) -> NDArray[np.float64]:
    """Times every call once a round until the time is up.

    Args:
        calls: what is timed, at least one.
        seconds: for all of them together, warm-up not counted.
        clock: nanoseconds, never backwards.
        advance: called after every round.

    Returns:
        [rounds, calls] milliseconds, at least `FEWEST_ROUNDS` rounds.
    """
    for call in calls:
        for _ in range(WARM_UP):
            call()
    rounds: list[list[float]] = []
    end = clock() + int(seconds * 1e9)
    while len(rounds) < FEWEST_ROUNDS or clock() < end:
        took = [0.0] * len(calls)
        # Who follows whom changes from round to round: caches remember the one before.
        first = len(rounds) % len(calls)
        for place in range(len(calls)):
            index = (first + place) % len(calls)
            started = clock()
            calls[index]()
            took[index] = (clock() - started) / 1e6
        rounds.append(took)
        advance(1)
    return np.asarray(rounds)
