"""Time the models of bundles on every runtime that can run them on this machine.

A candidate is one model file on one runtime with one number of threads. The calls of all candidates
are interleaved: each round calls every candidate once. A temporary slowdown of the machine then
affects all candidates. The ratio of two candidates is computed from calls of the same round.

The memory of a model is measured in a separate process that runs only this model. This process runs
this module as a script.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import resident_mb
from mggr_edge.common.progress import Progress
from mggr_edge.common.schema import plain, read
from mggr_edge.errors import UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.contract import Artifact
from mggr_edge.models.installed import bundle_path
from mggr_edge.models.runtimes import import_runtime, open_artifact
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.tools.bench.result import Candidate, Row, candidates_of, inputs_for, rows_of

WARM_UP = 5
"""Number of calls of each candidate before the timing starts. Runtimes allocate memory and
rearrange the weights in their first calls."""

FEWEST_ROUNDS = 20
"""Minimum number of rounds, even if these rounds exceed the time limit. With fewer rounds, a 95th
percentile is not meaningful."""

_MEMORY_CALLS = 3
_MEMORY_TIMEOUT_S = 120

Call = Callable[[], object]


def interleaved(
    calls: Sequence[Call],
    *,
    seconds: float,
    clock: Callable[[], int] = time.perf_counter_ns,
    advance: Callable[[int], None] = lambda n: None,
) -> NDArray[np.float64]:
    """Measure the durations of functions. Each round calls each function once.

    Args:
        calls: functions to time. At least one is needed.
        seconds: time limit in seconds for all functions together. The warm-up is not included.
        clock: function that returns the time in nanoseconds. The time must never decrease.
        advance: function that is called after each round.

    Returns:
        [rounds, calls] durations in milliseconds, with at least `FEWEST_ROUNDS` rounds.
    """
    for call in calls:
        for _ in range(WARM_UP):
            call()
    rounds: list[list[float]] = []
    end = clock() + int(seconds * 1e9)
    while len(rounds) < FEWEST_ROUNDS or clock() < end:
        took = [0.0] * len(calls)
        # Change the order in each round, because a call affects the CPU caches of the next call.
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
    """Time every model file of the bundles on every installed runtime.

    Args:
        bundles: folders, zip files or names of packaged weights.
        models: names of the models to time; `None` times all models.
        threads: numbers of threads. Each file is timed with each of these numbers.
        seconds: time limit in seconds for all candidates of one model together.
        progress: function that shows the progress.

    Raises:
        BundleError: a bundle is damaged.
        UsageError: a model is unknown, a bundle is named twice, or no file can run on this machine.
    """
    if len(set(bundles)) < len(bundles):
        repeated = next(name for name in bundles if bundles.count(name) > 1)
        raise UsageError(
            f"the bundle {repeated} is passed more than once; pass each bundle once",
            code="bundle-repeated",
            bundle=repeated,
        )
    last = [Path(name).name for name in bundles]
    labels = last if len(set(last)) == len(last) else bundles
    everybody: list[Candidate] = []
    for name, label in zip(bundles, labels, strict=True):
        contract, files = Bundle.open(name).contract, read_bundle_files(bundle_path(name))
        everybody += candidates_of(label, contract, files, models=models, threads=threads)
    if not everybody:
        raise UsageError(
            "no runtime for the models of these bundles is installed; run `mggr-edge doctor`",
            code="bench-without-runtime",
        )
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


def memory_mb(contestant: Candidate) -> float | None:
    """Return how much the memory of a process grows when it loads and runs a model.

    The memory of the runtime's own code is not included.

    Returns:
        Growth of the resident memory in MB. `None` if the system has no `/proc` folder, because
        the memory is read from this folder. Also `None` for a TensorRT engine, because engines are
        in the memory of the GPU.

    Raises:
        RuntimeError: the separate process failed.
    """
    if resident_mb() is None or contestant.runtime == tensorrt_api.NAME:
        return None
    said = {
        "artifact": plain(contestant.artifact),
        "runtime": contestant.runtime,
        "threads": contestant.threads,
    }
    command = [sys.executable, "-m", __spec__.name, json.dumps(said)]
    done = subprocess.run(
        command,
        input=contestant.content,
        capture_output=True,
        timeout=_MEMORY_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"measuring {contestant.artifact.file} failed: {''.join(reason)}")
    return float(done.stdout)


def growth_mb(content: bytes, artifact: Artifact, *, runtime: str, threads: int) -> float:
    """Load and run a model, and return the memory growth of this process in MB."""
    import_runtime(artifact.format, runtime)
    before = resident_mb()
    runner = open_artifact(artifact, content, num_threads=threads, runtime=runtime)
    inputs = inputs_for(runner.tensor_specs("inputs"))
    for _ in range(_MEMORY_CALLS):
        runner(inputs)
    after = resident_mb()
    assert before is not None
    assert after is not None
    return after - before


def _main(said: Mapping[str, object]) -> None:
    print(
        growth_mb(
            sys.stdin.buffer.read(),
            read(Artifact, said["artifact"]),
            runtime=str(said["runtime"]),
            threads=int(str(said["threads"])),
        )
    )


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
