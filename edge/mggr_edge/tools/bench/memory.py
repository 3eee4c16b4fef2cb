"""Measure the memory use of a model in a separate process that runs only this model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from mggr_edge.common.process import resident_mb
from mggr_edge.models.contract import Format
from mggr_edge.models.runtimes import import_runtime, open_file
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.tools.bench.result import Candidate, inputs_for

_CALLS = 3
_PATIENCE_S = 120


def memory_mb(contestant: Candidate) -> float | None:
    """Return how much the memory of a process grows when it loads and runs a model.

    The memory of the runtime's own code is not included.

    Returns:
        Growth of the resident memory in MiB. `None` if the system has no `/proc` folder, because
        the memory is read from this folder. Also `None` for a TensorRT engine, because engines are
        in the memory of the GPU.

    Raises:
        RuntimeError: the separate process failed.
    """
    if resident_mb() is None or contestant.runtime == tensorrt_api.NAME:
        return None
    said = {
        "format": contestant.artifact.format,
        "runtime": contestant.runtime,
        "threads": contestant.threads,
    }
    command = [sys.executable, "-m", __spec__.name, json.dumps(said)]
    done = subprocess.run(
        command, input=contestant.content, capture_output=True, timeout=_PATIENCE_S, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"measuring {contestant.artifact.file} failed: {''.join(reason)}")
    return float(done.stdout)


def growth_mb(content: bytes, file_format: Format, *, runtime: str, threads: int) -> float:
    """Load and run a model, and return the memory growth of this process in MiB."""
    import_runtime(file_format, runtime)
    before = resident_mb()
    runner = open_file(content, file_format, num_threads=threads, runtime=runtime)
    inputs = inputs_for(runner.tensor_specs("inputs"))
    for _ in range(_CALLS):
        runner(inputs)
    after = resident_mb()
    assert before is not None
    assert after is not None
    return after - before


def _main(said: Mapping[str, object]) -> None:
    print(
        growth_mb(
            sys.stdin.buffer.read(),
            said["format"],  # type: ignore[arg-type]
            runtime=str(said["runtime"]),
            threads=int(str(said["threads"])),
        )
    )


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
