"""Candidates to time, the rows of the result table, and the minimum speeds to check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import EngineError, UsageError
from mggr_edge.models.contract import Artifact, Contract, TensorSpec
from mggr_edge.models.runtimes import FileRunner, open_artifact, opencv, runtimes
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.models.tensorrt.build_options import dotted
from mggr_edge.models.tensorrt.installed import find_engine, usable_engine

_SEED = 0


@dataclass(frozen=True)
class Candidate:
    """One model file on one runtime with one number of threads.

    Attributes:
        bundle: name of the bundle as the user typed it.
        model: name of the model in the bundle.
        artifact: description of the file in the contract (`contract.json` of the bundle).
        content: content of the file.
        runtime: name of the Python package that contains the runtime.
        version: version of the runtime.
        threads: number of threads that the runtime uses.
    """

    bundle: str
    model: str
    artifact: Artifact
    content: bytes
    runtime: str
    version: str
    threads: int

    def open(self) -> FileRunner:
        """Load the file into its runtime. A TensorRT engine is loaded from the cache.

        Raises:
            EngineError: the engine cannot be opened.
        """
        if self.runtime == tensorrt_api.NAME:
            engine = find_engine((self.artifact,))
            if engine is None:
                raise EngineError(
                    f"the engine of {self.artifact.file} was removed during the benchmark; build "
                    "it again with `mggr-edge build-engine`",
                    code="engine-removed",
                    file=self.artifact.file,
                )
            return engine.open()
        return open_artifact(
            self.artifact, self.content, num_threads=self.threads, runtime=self.runtime
        )


def candidates_of(
    bundle: str,
    contract: Contract,
    files: Mapping[str, bytes],
    *,
    models: Sequence[str] | None,
    threads: Sequence[int],
) -> list[Candidate]:
    """Return all candidates of one bundle that can run on this machine.

    Args:
        bundle: name of the bundle in the table.
        contract: contract of the bundle.
        files: name of each file of the bundle -> content of the file.
        models: names of the models to use; `None` uses all models.
        threads: numbers of threads. Each file is a candidate with each of these numbers.

    Raises:
        UsageError: the bundle does not contain one of the models.
    """
    chosen = tuple(contract.models) if models is None else tuple(models)
    if unknown := [name for name in chosen if name not in contract.models]:
        held = ", ".join(sorted(contract.models))
        raise UsageError(
            f"{bundle} has no model {', '.join(unknown)}; the models of this bundle are: {held}",
            code="bench-model-unknown",
            bundle=bundle,
            models=", ".join(unknown),
            known=held,
        )
    return [
        Candidate(bundle, model, artifact, files[artifact.file], runtime, version, count)
        for model in chosen
        for artifact in contract.models[model]
        for runtime, version in (
            runtimes(artifact.format, model=model) | _engine_runtime(artifact)
        ).items()
        for count in _numbers_of_threads(runtime, threads)
    ]


def _numbers_of_threads(runtime: str, threads: Sequence[int]) -> Sequence[int]:
    """Return the numbers of threads to try with a runtime.

    An engine runs on the GPU, so it needs only one candidate. OpenCV has one number of threads for
    the whole process.
    """
    if runtime == tensorrt_api.NAME:
        return threads[:1]
    return [cv2.getNumThreads()] if runtime == opencv.NAME else threads


def _engine_runtime(artifact: Artifact) -> dict[str, str]:
    """If an engine of the file exists, return {name: version} of TensorRT; otherwise return {}."""
    engine = usable_engine((artifact,))
    if engine is None:
        return {}
    return {tensorrt_api.NAME: dotted(tensorrt_api.version_of(engine.module))}


def inputs_for(specs: Sequence[TensorSpec]) -> dict[str, NDArray]:
    """Return random inputs for tensors. The seed is fixed.

    The values are in the range of the tensor. If the tensor has no range, they are in [-1, 1].
    """
    rng = np.random.default_rng(_SEED)
    made = {}
    for spec in specs:
        low, high = spec.range or (-1.0, 1.0)
        made[spec.name] = rng.uniform(low, high, spec.shape).astype(spec.dtype)
    return made


Metric = Literal["per_second", "speedup"]

_HEAD = (
    *("bundle", "model", "format", "precision", "runtime"),
    *("threads", "median", "p95", "p99", "speedup", "memory", "size"),
)


@dataclass(frozen=True)
class Row:
    """Row of the result table: times of one candidate.

    Attributes:
        bundle, model, format, precision, runtime, version, threads: properties of the candidate.
        size_mb: size of the file in megabytes (millions of bytes).
        memory_mb: memory growth of a process that loads and runs the file, in MB; `None` if it is
            unknown.
        rounds: number of timed calls.
        median_ms, p95_ms, p99_ms: median, 95th and 99th percentile of the duration of a call, in
            milliseconds.
        speedup: speed divided by the speed of the first candidate of the same model (above 1 is
            faster). The value is the median over all rounds.
    """

    bundle: str
    model: str
    format: str
    precision: str
    runtime: str
    version: str
    threads: int
    size_mb: float
    memory_mb: float | None
    rounds: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    speedup: float

    @property
    def per_second(self) -> float:
        """Number of calls per second, computed from the median duration."""
        return 1000 / self.median_ms

    @property
    def words(self) -> frozenset[str]:
        """Words that the key of a minimum speed may contain to select this row."""
        named = (self.bundle, self.model, self.format, self.precision, self.runtime)
        return frozenset((*named, f"{self.threads}-threads"))

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON-serializable values."""
        return {**asdict(self), "per_second": self.per_second}


@dataclass(frozen=True)
class Floor:
    """Minimum speed that one of the matching rows must reach.

    An example is `redirector.int8.per_second=200`.

    Attributes:
        key: words and metric, as the user typed them.
        words: words that a row must contain.
        metric: field of the row that is compared with the minimum.
        least: minimum value of this field.
    """

    key: str
    words: tuple[str, ...]
    metric: Metric
    least: float


def parse_floor(text: str) -> Floor:
    """Parse a minimum speed of the form `WORD[.WORD...].METRIC=VALUE`.

    Raises:
        UsageError: the text has another form.
    """
    key, equals, value = text.partition("=")
    *words, metric = key.split(".")
    try:
        least = float(value)
    except ValueError:
        least = float("nan")
    if not equals or not words or metric not in get_args(Metric) or not least > 0:
        raise UsageError(
            f"--floor {text!r} is not valid; expected WORD[.WORD...].{'|'.join(get_args(Metric))}="
            "NUMBER, for example redirector.int8.per_second=200",
            code="floor-not-valid",
            floor=text,
        )
    return Floor(key, tuple(words), cast("Metric", metric), least)


def missed(floors: Sequence[Floor], rows: Sequence[Row]) -> list[str]:
    """Return one sentence for each minimum speed that no matching row reaches.

    Raises:
        UsageError: no row contains all words of a minimum speed.
    """
    faults = []
    for floor in floors:
        matching = [row for row in rows if set(floor.words) <= row.words]
        if not matching:
            known = sorted(set().union(*(row.words for row in rows)))
            raise UsageError(
                f"--floor {floor.key} matches no row; the known words are: {', '.join(known)}",
                code="floor-without-row",
                floor=floor.key,
                known=", ".join(known),
            )
        best = max(float(getattr(row, floor.metric)) for row in matching)
        if not best >= floor.least:
            faults.append(f"{floor.key} is {best:.3g}, below {floor.least:g}")
    return faults


def rows_of(
    contestants: Sequence[Candidate],
    took_ms: NDArray[np.float64],
    memory_mb: Sequence[float | None],
) -> tuple[Row, ...]:
    """Return the row of each candidate.

    Args:
        contestants: candidates that were timed.
        took_ms: [rounds, candidates] durations of the calls in milliseconds.
        memory_mb: memory growth of each candidate in MB; `None` if it is unknown.
    """
    names = [one.model for one in contestants]
    rows = []
    for index, one in enumerate(contestants):
        took = took_ms[:, index]
        first = took_ms[:, names.index(one.model)]
        median, p95, p99 = (float(np.percentile(took, share)) for share in (50, 95, 99))
        rows.append(
            Row(
                bundle=one.bundle,
                model=one.model,
                format=one.artifact.format,
                precision=one.artifact.precision,
                runtime=one.runtime,
                version=one.version,
                threads=one.threads,
                size_mb=len(one.content) / 1e6,
                memory_mb=memory_mb[index],
                rounds=len(took),
                median_ms=median,
                p95_ms=p95,
                p99_ms=p99,
                speedup=float(np.median(first / took)),
            )
        )
    return tuple(rows)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a text table for a terminal."""
    cells = [list(_HEAD)] + [
        [
            *(row.bundle, row.model, row.format, row.precision),
            f"{row.runtime} {row.version}",
            str(row.threads),
            *(f"{ms:.2f} ms" for ms in (row.median_ms, row.p95_ms, row.p99_ms)),
            f"{row.speedup:.2f} x",
            "?" if row.memory_mb is None else f"{row.memory_mb:.1f} MB",
            f"{row.size_mb:.2f} MB",
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_HEAD))]
    left = _HEAD.index("threads")
    lines = [
        "  ".join(
            f"{cell:<{width}}" if i < left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    note = f"{rows[0].rounds} rounds; speedup is relative to the first row of each model"
    return "\n".join((*lines, note))
