"""Times the models of bundles in turns, on every runtime that can run them here.

Contestants take turns: one call each, round after round. Whatever slows the machine down for a
moment slows all of them, and ratios are taken within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress
from mggr_edge.errors import UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.installed import bundle_path
from mggr_edge.tools.bench.memory import memory_mb
from mggr_edge.tools.bench.result import Candidate, Row, candidates_of, inputs_for, rows_of

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


def bench(
    bundles: Sequence[str],
    *,
    models: Sequence[str] | None,
    threads: Sequence[int],
    seconds: float,
    progress: Progress,
) -> tuple[Row, ...]:
    """Times every model file of some bundles on every runtime that is installed.

    Args:
        bundles: folders, zips or packaged names; compared with each other.
        models: only these; None takes all.
        threads: numbers of threads that each is run with.
        seconds: for one model's contestants together.
        progress: shows how far it is.

    Raises:
        BundleError: a bundle is damaged.
        UsageError: an unknown model, the same bundle twice, or nothing to run here.
    """
    if len(set(bundles)) < len(bundles):
        raise UsageError("a bundle is named twice")
    last = [Path(name).name for name in bundles]
    labels = last if len(set(last)) == len(last) else bundles
    everybody: list[Candidate] = []
    for name, label in zip(bundles, labels, strict=True):
        contract, files = Bundle.open(name).contract, read_bundle_files(bundle_path(name))
        everybody += candidates_of(label, contract, files, models=models, threads=threads)
    if not everybody:
        raise UsageError("no runtime for these bundles is installed; see `mggr-edge doctor`")
    rows: list[Row] = []
    for model in dict.fromkeys(one.model for one in everybody):
        field = [one for one in everybody if one.model == model]
        with progress(f"timing the {model}", None) as advance:
            took = interleaved([_call(one) for one in field], seconds=seconds, advance=advance)
        rows += rows_of(field, took, [memory_mb(one) for one in field])
    return tuple(rows)


def _call(contestant: Candidate) -> Call:
    runner = contestant.open()
    inputs = inputs_for(contestant.artifact.inputs or runner.tensor_specs("inputs"))
    return lambda: runner(inputs)
