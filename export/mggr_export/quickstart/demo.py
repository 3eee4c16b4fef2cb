"""Run the device pipeline on the portrait video, and write videos, picture sheets and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mggr_edge.common.progress import Progress
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs.file_run import run
from mggr_export.quickstart import (
    CHART_SHEET,
    EYES_CLIP,
    FACES_CLIP,
    PORTRAIT,
    REDIRECTED,
    STILLS_SHEET,
    STRIP_SHEET,
)
from mggr_export.quickstart.observe import (
    REST_FROM_S,
    Following,
    Observer,
    Sight,
    following,
    target_at,
)
from mggr_export.quickstart.portrait import (
    RATE,
    SMALL_CRF,
    WriteFrame,
    clip_writer,
    portrait_frames,
    write_portrait,
)
from mggr_export.quickstart.sheets import (
    CLOSE_UP_PX,
    GAP_PX,
    Picture,
    above_each_other,
    chart,
    side_by_side,
    strip,
)
from mggr_tf.training.stage_watch import write_png

STRIP_TIMES_S = (0.2, 0.8, 1.28, 1.76, 2.24, 2.72, 3.2, 4.0, 4.52, 5.48, 6.0, 7.4)
"""Times in seconds of the rows in the sheet of close-ups.

At these times, the targets are yaw -15 to 15 degrees and pitch 10 to -10 degrees, in steps of five
degrees. At the last time, the target is the camera.
"""

STILL_TIMES_S = (0.2, 3.2, 4.0, 7.4)

_COMMENT = "gaze redirected by mggr-tf"
_HALF_PX = 448
"""Width and height in pixels of each half of the video that shows both faces.

Pictures of this size are sharp on a phone, and the video is small enough for a report.
"""

_FACES_PX = (_HALF_PX, 2 * _HALF_PX + GAP_PX)
_EYES_PX = (2 * CLOSE_UP_PX[0] + GAP_PX, CLOSE_UP_PX[1])


class Films:
    """Writer of the videos and sheets. `open_films` creates an instance.

    Args:
        faces, eyes: Functions that write one frame. `faces` writes to the face video, and `eyes`
            writes to the eye video.
    """

    def __init__(self, *, faces: WriteFrame, eyes: WriteFrame) -> None:
        self._faces, self._eyes = faces, eyes
        self._wanted = {_number(t) for t in (*STRIP_TIMES_S, *STILL_TIMES_S)}
        self._kept: dict[int, tuple[Picture, Picture]] = {}

    def show(self, before: Picture, after: Picture, time_s: float) -> None:
        """Add one frame of the portrait video, before and after redirection."""
        half = (_HALF_PX, _HALF_PX)
        halves = [cv2.resize(f, half, interpolation=cv2.INTER_AREA) for f in (before, after)]
        self._faces(side_by_side(halves[0], halves[1], target_at(time_s)))
        self._eyes(above_each_other(before, after, time_s))
        if _number(time_s) in self._wanted:
            self._kept[_number(time_s)] = before, after

    def write_sheets(self, folder: Path, sights: Sequence[Sight]) -> None:
        """Write the sheets. Call `show` for all frames first."""
        rows = [(time_s, *self._kept[_number(time_s)]) for time_s in STRIP_TIMES_S]
        stills = [
            side_by_side(*self._kept[_number(time_s)], target_at(time_s))
            for time_s in STILL_TIMES_S
        ]
        write_png(folder / STRIP_SHEET, strip(rows))
        write_png(folder / STILLS_SHEET, np.concatenate(stills))
        write_png(folder / CHART_SHEET, chart(sights))


@contextmanager
def open_films(folder: Path) -> Iterator[Films]:
    """Open both videos for writing.

    The files appear when the context exits without an error.

    Raises:
        StreamError: If a video cannot be written.
    """
    how = {"rate": Fraction(RATE), "crf": SMALL_CRF, "comment": _COMMENT}
    with (
        clip_writer(folder / FACES_CLIP, size=_FACES_PX, **how) as faces,  # type: ignore[arg-type]
        clip_writer(folder / EYES_CLIP, size=_EYES_PX, **how) as eyes,  # type: ignore[arg-type]
    ):
        yield Films(faces=faces, eyes=eyes)


def _number(time_s: float) -> int:
    return round(time_s * RATE)


_TIMED_FRAMES = 50
_WARM_UP_FRAMES = 5


@dataclass(frozen=True)
class Timing:
    """Time per frame with one bundle on this machine, in milliseconds.

    Attributes:
        median_ms: Median time that the pipeline takes, without reading and writing the video.
        most_ms: 95th percentile of this time.
    """

    median_ms: float
    most_ms: float


@dataclass(frozen=True)
class Demo:
    """Results of the redirection of the portrait.

    Attributes:
        frames: Number of frames in the video.
        stray_pixels: Total number of changed pixels outside the eye masks, over all frames. The
            number must be 0.
        sights: Measurements, one for each frame in which the pipeline estimated the gaze.
        own: Comparison of the redirected gaze with the target, measured by the run's own estimator.
        iris: Comparison of the redirected gaze with the target, measured by the iris model.
        timings: Precision of the bundle -> time per frame.
    """

    frames: int
    stray_pixels: int
    sights: tuple[Sight, ...]
    own: Following
    iris: Following
    timings: dict[str, Timing]

    @property
    def fully_redirected(self) -> int:
        """Number of frames in which both eyes were redirected at full strength."""
        return sum(min(sight.strengths) == 1.0 for sight in self.sights)

    @property
    def before(self) -> Gaze:
        """Mean gaze that the pipeline estimated for the original eyes; (0, 0) would be correct."""
        return Gaze.from_array(np.mean([sight.before.array() for sight in self.sights], axis=0))

    @property
    def at_rest(self) -> tuple[Sight, ...]:
        """Measurements of the frames at the end of the video. Their target is the camera."""
        return tuple(sight for sight in self.sights if sight.time_s >= REST_FROM_S)


def run_demo(folder: Path, *, redirecting: Bundle, precise: Bundle, progress: Progress) -> Demo:
    """Redirect the portrait video, and write videos and sheets to `folder`.

    Args:
        folder: Existing output folder. Files with the same names are replaced.
        redirecting: Bundle that redirects the video.
        precise: Float bundle whose estimator measures the gaze of the redirected eyes.
        progress: Factory of progress bars.
    """
    write_portrait(folder / PORTRAIT, progress=progress)
    with open_films(folder) as films:
        observer = Observer(redirecting, measuring=precise, show=films.show)
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


def watch_portrait(bundle: Bundle, *, measuring: Bundle) -> Following:
    """Redirect the portrait with a bundle, and compare the redirected gaze with the target.

    The iris model measures the redirected gaze. No file is written.
    """
    observer = Observer(bundle, measuring=measuring, show=lambda before, after, time_s: None)
    for number, frame in enumerate(portrait_frames()):
        observer(frame, time_s=number / RATE)
    sights = observer.sights
    return following([sight.target for sight in sights], [sight.by_iris for sight in sights])


def _timing(bundle: Bundle, *, progress: Progress) -> Timing:
    observer = Observer(bundle, measuring=bundle, show=lambda before, after, time_s: None)
    with progress("timing the pipeline", _TIMED_FRAMES) as advance:
        for number, frame in enumerate(portrait_frames(frames=_TIMED_FRAMES)):
            observer(frame, time_s=number / RATE)
            advance()
    spent = [1e3 * sight.seconds for sight in observer.sights[_WARM_UP_FRAMES:]]
    return Timing(float(np.median(spent)), float(np.percentile(spent, 95)))
