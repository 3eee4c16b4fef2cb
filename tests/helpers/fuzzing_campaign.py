"""Runs fuzzed cases in a process of their own, so that what hangs or dies is named by its seed.

By hand, a larger campaign: `python tests/helpers/fuzzing_campaign.py KIND FIRST COUNT`.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 30.0
"""Of one case, on a machine that has much else to do; most take a twentieth of a second."""

MEMORY_MB = 1000
"""How much more than before a case may hold at once."""

_ADDRESS_SPACE = 12 << 30
"""Nothing near it is needed; what wants more fails here, instead of the whole machine."""


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Attributes:
        kind, seed: of the case.
        fault: what it did that nothing may do; None where all is well.
        what: was done to its input.
        took_s: its time.
        noise: what libraries wrote to the terminal past Python.
    """

    kind: str
    seed: int
    fault: str | None
    what: str = ""
    took_s: float = 0.0
    noise: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.seed} ({self.what}): {self.fault}"


_AT_ONCE = 150
"""Cases that one process goes through; what is found is reported after each."""


def campaign(kind: str, seeds: Iterable[int]) -> Iterator[Verdict]:
    """Judges the cases of some seeds; a process that ends early is started anew behind its case."""
    left = list(seeds)
    while left:
        judged, ended = _child(kind, left[:_AT_ONCE])
        yield from judged
        left = left[len(judged) :]
        if left and ended is not None:
            yield Verdict(kind, left.pop(0), ended)


def _child(kind: str, seeds: list[int]) -> tuple[list[Verdict], str | None]:
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "TMPDIR": home,
            "PYTHONUTF8": "1",
        }
        try:
            finished = subprocess.run(
                [sys.executable, __file__, "--child", kind],
                input=json.dumps(seeds),
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=len(seeds) * LIMIT_S,
            )
            output, errors, code = finished.stdout, finished.stderr, finished.returncode
        except subprocess.TimeoutExpired as error:
            raw = error.stdout or b""
            output = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
            errors, code = "a hang", 1
    verdicts = [Verdict(**json.loads(line)) for line in output.splitlines()]
    if len(verdicts) == len(seeds):
        return verdicts, None
    return verdicts, f"the process ended with {code}: {errors[-1500:]}"


def _judge_all(kind: str, seeds: list[int]) -> None:
    """In the child: a line of JSON for each case, on the output that it was started with."""
    from fuzzing import judged, rng_of
    from fuzzing_kinds import KINDS

    warnings.simplefilter("error")
    lines, faults = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    os.dup2(2, 1)
    faulthandler.enable(faults)
    _limit_memory()
    with_models = has_models()
    for seed in seeds:
        with _own_folder() as folder:
            case = KINDS[kind](rng_of(kind, seed), folder)
            faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=faults)
            started, held = time.monotonic(), _peak_mb(anew=True)
            with _noise() as noise, _redirector(is_real=with_models and seed % 2 == 0):
                fault = judged(case, folder)
            took_s, more_mb = time.monotonic() - started, _peak_mb() - held
            faulthandler.cancel_dump_traceback_later()
        if more_mb > MEMORY_MB:
            fault = f"{fault or ''}; held {more_mb} MB more"
        verdict = Verdict(kind, seed, fault, case.what, round(took_s, 3), "".join(noise))
        lines.write(json.dumps(verdict.__dict__) + "\n")
        lines.flush()


def has_models() -> bool:
    """Whether faces can be found here: the landmark models, and what runs them."""
    from mggr_edge.errors import MissingPackageError
    from mggr_edge.models.installed import find_landmark_models
    from mggr_edge.models.runtimes import available_interpreters

    with suppress(MissingPackageError):
        find_landmark_models()
        return bool(available_interpreters())
    return False


@contextmanager
def _redirector(*, is_real: bool) -> Iterator[None]:
    """One that inverts every pixel in the real one's place, so that results are encoded."""
    from mggr_edge.pipeline.results import FrameResult
    from mggr_edge.runs import redirect as redirecting

    class Inverting:
        def __init__(self, bundle: object, **options: object) -> None:
            self.bundle = bundle

        def process(self, frame, *, time_s=None):
            return FrameResult(255 - frame, ())

    before = redirecting.Redirector
    if not is_real:
        redirecting.Redirector = Inverting
    try:
        yield
    finally:
        redirecting.Redirector = before


@contextmanager
def _own_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        before = os.getcwd()
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


@contextmanager
def _noise() -> Iterator[list[str]]:
    """What is written to the terminal past Python, at the end."""
    found: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            found.append(file.read(2000).decode(errors="replace"))


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))


def _peak_mb(*, anew: bool = False) -> int:
    """The most that this process held; 0 where that cannot be known."""
    with suppress(OSError):
        if anew:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0


def _main() -> None:
    if sys.argv[1] == "--child":
        _judge_all(sys.argv[2], json.load(sys.stdin))
        return
    kind, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    slowest: list[tuple[float, int, str]] = []
    noisy: dict[str, int] = {}
    faults = 0
    for verdict in campaign(kind, range(first, first + count)):
        slowest = sorted([*slowest, (verdict.took_s, verdict.seed, verdict.what)])[-5:]
        if verdict.noise:
            noisy.setdefault(verdict.noise.splitlines()[0][:110], verdict.seed)
        if verdict.fault:
            faults += 1
            print(verdict, flush=True)
    print(f"{kind}: {count} cases, {faults} faults; slowest: {slowest}")
    for line, seed in noisy.items():
        print(f"  noise, first of {seed}: {line}")


if __name__ == "__main__":
    _main()
