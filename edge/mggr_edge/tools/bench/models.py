"""Times bundles: opens them, lets everybody take turns, measures memory apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mggr_edge.common.progress import Progress
from mggr_edge.errors import UsageError
from mggr_edge.models.bundle import Bundle, read_bundle_files
from mggr_edge.models.default_bundle import bundle_path
from mggr_edge.tools.bench.candidates import Contestant, contestants_of, inputs_for
from mggr_edge.tools.bench.memory import memory_mb
from mggr_edge.tools.bench.result import Row, rows_of
from mggr_edge.tools.bench.timing import Call, interleaved


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
    everybody: list[Contestant] = []
    for name, label in zip(bundles, labels, strict=True):
        contract, files = Bundle.open(name).contract, read_bundle_files(bundle_path(name))
        everybody += contestants_of(label, contract, files, models=models, threads=threads)
    if not everybody:
        raise UsageError("no runtime for these bundles is installed; see `mggr-edge doctor`")
    rows: list[Row] = []
    for model in dict.fromkeys(one.model for one in everybody):
        field = [one for one in everybody if one.model == model]
        with progress(f"timing the {model}", None) as advance:
            took = interleaved([_call(one) for one in field], seconds=seconds, advance=advance)
        rows += rows_of(field, took, [memory_mb(one) for one in field])
    return tuple(rows)


def _call(contestant: Contestant) -> Call:
    runner = contestant.open()
    inputs = inputs_for(contestant.artifact.inputs or runner.tensor_specs("inputs"))
    return lambda: runner(inputs)
