"""The device pipeline on the portrait clip: videos, sheets and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mggr_edge.common.progress import Progress
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs.file_run import run
from mggr_export.quickstart.films import open_films
from mggr_export.quickstart.following import Following, following
from mggr_export.quickstart.names import PORTRAIT, REDIRECTED
from mggr_export.quickstart.observe import Observer, Sight
from mggr_export.quickstart.portrait import RATE, portrait_frames, write_portrait
from mggr_export.quickstart.sweep import REST_FROM_S

_TIMED_FRAMES = 50
_WARM_UP_FRAMES = 5


@dataclass(frozen=True)
class Timing:
    """Milliseconds per frame of one bundle, on this machine.

    Attributes:
        median_ms: of the pipeline alone, without reading and writing the video.
        most_ms: 95 of 100 frames took less.
    """

    median_ms: float
    most_ms: float


@dataclass(frozen=True)
class Demo:
    """What came of it, in numbers.

    Attributes:
        frames: how many the clip has.
        stray_pixels: pixels outside the eyes' masks that changed, over all frames; must be 0.
        sights: one for each frame in which the eyes were looked at.
        own: what the run's own estimator saw.
        iris: what the iris model saw.
        timings: precision -> how long a frame took.
    """

    frames: int
    stray_pixels: int
    sights: tuple[Sight, ...]
    own: Following
    iris: Following
    timings: dict[str, Timing]

    @property
    def fully_redirected(self) -> int:
        """Frames in which both eyes were redirected at full strength."""
        return sum(min(sight.strengths) == 1.0 for sight in self.sights)

    @property
    def before(self) -> Gaze:
        """The mean gaze that the pipeline took her to have; (0, 0) would be right."""
        return Gaze.from_array(np.mean([sight.before.array() for sight in self.sights], axis=0))

    @property
    def at_rest(self) -> tuple[Sight, ...]:
        """The frames whose target is the camera at the end."""
        return tuple(sight for sight in self.sights if sight.time_s >= REST_FROM_S)


def run_demo(folder: Path, *, redirecting: Bundle, precise: Bundle, progress: Progress) -> Demo:
    """Redirects the portrait clip, and leaves videos and sheets in `folder`.

    Args:
        folder: exists; files of the same names are replaced.
        redirecting: the bundle that the clip is made with.
        precise: the float bundle, whose estimator is the first witness.
        progress: shows how far it is.
    """
    write_portrait(folder / PORTRAIT, progress=progress)
    with open_films(folder) as films:
        observer = Observer(redirecting, witness=precise, show=films.show)
        run(
            folder / PORTRAIT,
            folder / REDIRECTED,
            process=observer,
            force=True,
            progress=progress,
        )
    sights = tuple(observer.sights)
    targets = [sight.target for sight in sights]
    films.write_sheets(folder, sights)
    return Demo(
        frames=observer.frames,
        stray_pixels=observer.stray_pixels,
        sights=sights,
        own=following(targets, [sight.estimated for sight in sights]),
        iris=following(targets, [sight.by_iris for sight in sights]),
        timings={
            name: _timing(bundle, progress=progress)
            for name, bundle in (("int8", redirecting), ("float32", precise))
        },
    )


def watch_portrait(bundle: Bundle, *, witness: Bundle) -> Following:
    """How the iris model sees a bundle's gaze follow on the portrait; nothing is written."""
    observer = Observer(bundle, witness=witness, show=lambda before, after, time_s: None)
    for number, frame in enumerate(portrait_frames()):
        observer(frame, time_s=number / RATE)
    sights = observer.sights
    return following([sight.target for sight in sights], [sight.by_iris for sight in sights])


def _timing(bundle: Bundle, *, progress: Progress) -> Timing:
    observer = Observer(bundle, witness=bundle, show=lambda before, after, time_s: None)
    with progress("timing the pipeline", _TIMED_FRAMES) as advance:
        for number, frame in enumerate(portrait_frames(frames=_TIMED_FRAMES)):
            observer(frame, time_s=number / RATE)
            advance()
    spent = [1e3 * sight.seconds for sight in observer.sights[_WARM_UP_FRAMES:]]
    return Timing(float(np.median(spent)), float(np.percentile(spent, 95)))
