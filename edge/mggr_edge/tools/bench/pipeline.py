"""Measure the speed of all stages for a video: decoding, models and the code of this package."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress
from mggr_edge.errors import StreamError
from mggr_edge.media.files.video_reader import TimedFrame, open_video
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.runtimes import Runner
from mggr_edge.pipeline.redirector import Redirector

_WARM_UP_FRAMES = 10
_LOOK_S = 0.005
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class PipelineFigures:
    """Times of a run.

    Only frames with a face are timed. The first frames are not timed, because they are slower.

    Attributes:
        bundle: name of the bundle as the user typed it.
        size: (height, width) of the frames.
        frames: number of timed frames.
        decode_ms: median time to read a frame, in milliseconds.
        interpreters_ms: median time of all model calls of a frame together, in milliseconds.
        own_ms: median time of the redirection of a frame without the model calls, in milliseconds.
        whole_ms: median time to read and redirect a frame, in milliseconds.
        whole_p99_ms: 99th percentile of the time to read and redirect a frame, in milliseconds.
        per_second: frames per second.
        reachable: frame rate, divided by the frame rate that reading and model calls alone would
            reach, in [0, 1]. Higher is better.
        start_s: time in seconds from the start of `mggr-edge run` to the result of the first frame.
        peak_mb: peak memory of this `mggr-edge run` in MB. `None` means that it is unknown.
    """

    bundle: str
    size: tuple[int, int]
    frames: int
    decode_ms: float
    interpreters_ms: float
    own_ms: float
    whole_ms: float
    whole_p99_ms: float
    per_second: float
    reachable: float
    start_s: float
    peak_mb: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the times as JSON-serializable values."""
        return asdict(self)

    def in_words(self) -> str:
        """Return the times as text."""
        height, width = self.size
        return (
            f"{self.bundle}, {width} x {height}, {self.frames} frames with a face:\n"
            f"  decoding {self.decode_ms:.1f} ms, model calls {self.interpreters_ms:.1f} ms, "
            f"other stages {self.own_ms:.1f} ms (medians)\n"
            f"  per frame {self.whole_ms:.1f} ms, p99 {self.whole_p99_ms:.1f} ms "
            f"({self.whole_p99_ms / self.whole_ms:.2f} times the median)\n"
            f"  {self.per_second:.1f} frames per second, {self.reachable:.0%} of the rate that "
            "decoding and model calls alone would reach\n"
            f"  first frame {self.start_s:.1f} s after the start, peak memory "
            f"{'unknown' if self.peak_mb is None else format(self.peak_mb, '.0f') + ' MB'}"
        )


class _Timed:
    """Wrapper of a model that sums the durations of its calls."""

    def __init__(self, runner: Runner, spent: list[float]) -> None:
        self._runner, self._spent = runner, spent

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> dict[str, NDArray[Any]]:
        started = time.perf_counter()
        try:
            return self._runner(inputs)
        finally:
            self._spent[0] += time.perf_counter() - started


def time_pipeline(
    clip: Path, bundle: str, *, max_faces: int, progress: Progress
) -> PipelineFigures:
    """Time the redirection of a video with a bundle. No output is written.

    Args:
        clip: path of the video.
        bundle: folder, zip file or name of packaged weights.
        max_faces: maximum number of faces per frame.
        progress: function that shows the progress.

    Raises:
        BundleError: the bundle is damaged.
        StreamError: the video cannot be read, or too few frames of the video show a face.
    """
    spent = [0.0]
    redirector = Redirector(
        Bundle.open(bundle).through(lambda runner: _Timed(runner, spent)), max_faces=max_faces
    )
    took: list[tuple[float, float, float]] = []
    with open_video(clip) as video:
        items = iter(video.items)
        with progress(f"timing {clip.name}", video.layout.frames) as advance:
            while True:
                started = time.perf_counter()
                item = next((i for i in items if isinstance(i, TimedFrame)), None)
                if item is None:
                    break
                decoded, spent[0] = time.perf_counter(), 0.0
                faces = redirector.process(item.rgb, time_s=item.time_s).faces
                ended = time.perf_counter()
                if faces:
                    took.append((decoded - started, spent[0], ended - decoded - spent[0]))
                advance()
        size = video.layout.size
    figures = 1000 * np.array(took[_WARM_UP_FRAMES:])
    if not len(figures):
        raise StreamError(
            f"{clip} shows a face in {len(took)} frames; at least {_WARM_UP_FRAMES + 1} are needed",
            code="clip-with-few-faces",
            path=clip,
            frames=len(took),
            least=_WARM_UP_FRAMES + 1,
        )
    decode, interpreters, own = figures.T
    whole = figures.sum(axis=1)
    start_s, peak_mb = _as_a_command(clip, bundle)
    return PipelineFigures(
        bundle=bundle,
        size=size,
        frames=len(figures),
        decode_ms=float(np.median(decode)),
        interpreters_ms=float(np.median(interpreters)),
        own_ms=float(np.median(own)),
        whole_ms=float(np.median(whole)),
        whole_p99_ms=float(np.percentile(whole, 99)),
        per_second=1000 * len(figures) / float(whole.sum()),
        reachable=float((decode + interpreters).sum() / whole.sum()),
        start_s=start_s,
        peak_mb=peak_mb,
    )


def _as_a_command(clip: Path, bundle: str) -> tuple[float, float | None]:
    """Run `mggr-edge run` on the video in a separate process.

    Returns:
        (seconds until the first result of the process, peak memory of the process in MB). The
        memory is `None` on Windows.
    """
    with tempfile.TemporaryDirectory() as folder:
        lines, errors = Path(folder) / "frames.jsonl", Path(folder) / "errors"
        command = ["run", str(clip), "null://", "--model", bundle, "--metrics", str(lines)]
        started = time.perf_counter()
        with errors.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "mggr_edge", *command],
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        first_s = None
        peak_mb: float | None = None
        while (done := _ended(process)) is None:
            took_s = time.perf_counter() - started
            if first_s is None and lines.is_file() and lines.stat().st_size:
                first_s = took_s
            if took_s > _PATIENCE_S:
                process.kill()
            time.sleep(_LOOK_S)
        peak_mb = done[0]
        if process.returncode != 0 or first_s is None:
            last = errors.read_text(errors="replace").strip().splitlines()[-1:]
            raise StreamError(
                f"mggr-edge run {shlex.quote(str(clip))} failed: {''.join(last)}",
                code="bench-run-failed",
                path=clip,
                reason="".join(last),
            )
    return first_s, peak_mb


def _ended(process: subprocess.Popen[bytes]) -> tuple[float | None] | None:
    """Return (peak memory in MB,) if a process has ended; otherwise return `None`.

    The memory is `None` on Windows, which does not report it.
    """
    if not hasattr(os, "wait4"):
        return None if process.poll() is None else (None,)
    found, status, usage = os.wait4(process.pid, os.WNOHANG)
    if found == 0:
        return None
    # Set the exit code, because os.wait4 has already collected it.
    process.returncode = os.waitstatus_to_exitcode(status)
    # The unit is 1 byte on macOS, and 1024 bytes on other systems.
    return (usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6,)
