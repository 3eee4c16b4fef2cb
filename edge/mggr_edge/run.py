"""From a file to a file of the same kind, each frame through the redirector.

Nothing here knows how eyes are redirected: `process` is `Redirector.process`,
or anything of its shape.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.atomic import atomic_file, atomic_folder
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.progress import Progress, no_progress
from mggr_edge.reporting.stages import Stages, no_stages
from mggr_edge.streams.fit import fitted
from mggr_edge.streams.kept import not_kept
from mggr_edge.streams.looped import open_looped
from mggr_edge.streams.paths import NOWHERE, Source, choose_output, find_source, pictures_in
from mggr_edge.streams.pictures import read_picture, write_picture
from mggr_edge.streams.video_reader import AudioPacket, Video, open_video
from mggr_edge.streams.video_writer import REDIRECTED, NoWriter, VideoWriter, open_writer
from mggr_edge.summary import Failure, ProcessedFrame, RunSummary, Tally

_PROFILE_NOTE = "a colour profile could not be carried over, so colours may shift a little"


class Process(Protocol):
    """Frame in, frame out.

    `frame` is [H, W, 3] uint8 RGB; `time_s` is the frame's time in its video,
    None for a picture that has nothing to do with the one before.
    """

    def __call__(
        self, frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> ProcessedFrame: ...


def run(
    source_path: str | Path,
    output_path: str | Path | None = None,
    *,
    process: Process,
    columns: int = 1,
    comment: str = REDIRECTED,
    force: bool = False,
    loops: int = 0,
    progress: Progress = no_progress,
    stages: Stages = no_stages,
) -> RunSummary:
    """Redirects a picture, a folder of pictures or a video file.

    Where no pixel was changed, the output is the input byte for byte (a video
    whose container cannot be kept is encoded all the same).

    Args:
        source_path: the input.
        output_path: of the same kind; None puts `<name>-redirected` beside the
            input, numbered if that is taken; `null://` writes nothing.
        process: what is done to each frame.
        columns: how many times as wide as a frame is what `process` makes of it.
        comment: what a video's metadata say of it.
        force: a named output that exists may be replaced.
        loops: how many times more a video is gone through, -1 for ever; only to nowhere.
        progress: shows how far it is.
        stages: measures reading and writing.

    Raises:
        UsageError: the output does not fit the input, or exists without `force`; or what shall
            be looped is no video, or would be written.
        StreamError: the input is missing or damaged, or the output cannot be
            written; nothing is left behind. Of a folder's pictures, one that
            fails is listed in the summary, and only if all fail it is an error.
        MissingPackageError: a video without PyAV.
    """
    source = find_source(source_path)
    output = choose_output(source, output_path, force=force)
    if loops and (source.kind != "video" or output is not None):
        raise UsageError(f"only a video can be looped, and only to where it is shown or {NOWHERE}")
    task = _Task(source, output, process, columns, comment, force, loops, progress, stages)
    return _RUN[source.kind](task)


@dataclass(frozen=True)
class _Task:
    """The arguments of `run`, settled."""

    source: Source
    output: Path | None
    process: Process
    columns: int
    comment: str
    force: bool
    loops: int
    progress: Progress
    stages: Stages

    @property
    def path(self) -> Path:
        """Of the input."""
        return self.source.path


def _run_picture(task: _Task) -> RunSummary:
    tally = Tally()
    if task.output is None:
        _redirect_picture(task.path, None, task=task, tally=tally)
        return tally.summary("picture", None)
    with atomic_file(task.output, force=task.force) as temporary:
        is_complete = _redirect_picture(task.path, temporary, task=task, tally=tally)
        is_copy = _copy_if_untouched(task.path, temporary, tally=tally)
    notes = () if is_copy or is_complete else (_PROFILE_NOTE,)
    return tally.summary("picture", task.output, is_copy=is_copy, notes=notes)


def _run_folder(task: _Task) -> RunSummary:
    pictures, ignored = pictures_in(task.path)
    if not pictures:
        raise StreamError(f"{task.path} holds no pictures, only {ignored} other entries")
    total, failures = Tally(), []
    notes: tuple[str, ...] = ()
    with (
        _folder_for(task) as temporary,
        task.progress(f"redirecting {task.path.name}", len(pictures)) as advance,
    ):
        for picture in pictures:
            tally, written = Tally(), None if temporary is None else temporary / picture.name
            try:
                is_complete = _redirect_picture(picture, written, task=task, tally=tally)
                if not (_copy_if_untouched(picture, written, tally=tally) or is_complete):
                    notes = (_PROFILE_NOTE,)
                total.merge(tally)
            except (StreamError, UsageError) as error:
                if written is not None:
                    written.unlink(missing_ok=True)  # a full disk leaves half a picture
                failures.append(Failure(picture, str(error)))
            advance()
        if len(failures) == len(pictures):
            raise StreamError(
                f"no picture of {task.path} can be processed, {len(pictures)} tried; "
                f"the first: {failures[0].message}"
            )
    return total.summary(
        "folder", task.output, ignored=ignored, failures=tuple(failures), notes=notes
    )


def _folder_for(task: _Task) -> AbstractContextManager[Path | None]:
    if task.output is None:
        return nullcontext()
    return atomic_folder(task.output, force=task.force)


def _run_video(task: _Task) -> RunSummary:
    tally = Tally()
    if task.output is None:
        with _opened_video(task) as video:
            _redirect_video(video, NoWriter(), task=task, tally=tally)
        return tally.summary("video", None)
    with atomic_file(task.output, force=task.force) as temporary:
        with open_video(task.path) as video:
            layout = video.layout.widened(task.columns)
            with open_writer(temporary, layout, path=task.output, comment=task.comment) as writer:
                _redirect_video(video, writer, task=task, tally=tally)
        is_copy = _copy_if_untouched(task.path, temporary, tally=tally)
    notes = (*video.notes, *writer.notes, *not_kept(sorted(video.losses), writer.losses))
    notes = () if is_copy else notes
    return tally.summary("video", task.output, is_copy=is_copy, notes=notes)


def _opened_video(task: _Task) -> AbstractContextManager[Video]:
    return open_looped(task.path, task.loops) if task.loops else open_video(task.path)


def _redirect_video(
    video: Video, writer: VideoWriter | NoWriter, *, task: _Task, tally: Tally
) -> None:
    items = iter(video.items)
    with task.progress(f"redirecting {task.path.name}", video.layout.frames) as advance:
        while True:
            with task.stages("read"):
                item = next(items, None)
            if item is None:
                return
            if isinstance(item, AudioPacket):
                writer.pass_audio(item)
                continue
            result = task.process(item.rgb, time_s=item.time_s)
            shown = result.frame
            if item.rgb.shape[:2] != video.layout.size:
                shown = fitted(shown, video.layout.widened(task.columns).size)
                tally.refitted += 1
            with task.stages("write"):
                writer.write(shown, item)
            tally.add(item.rgb, result)
            advance()


_RUN: dict[str, Callable[[_Task], RunSummary]] = {
    "picture": _run_picture,
    "folder": _run_folder,
    "video": _run_video,
}


def _redirect_picture(path: Path, written: Path | None, *, task: _Task, tally: Tally) -> bool:
    """Whether the written picture carries all that the one that was read has."""
    with task.stages("read"):
        picture = read_picture(path)
    result = task.process(picture.rgb)
    tally.add(picture.rgb, result)
    if written is None:
        return True
    with task.stages("write"):
        alpha = None if picture.alpha is None else np.tile(picture.alpha, (1, task.columns))
        return write_picture(written, replace(picture, rgb=result.frame, alpha=alpha))


def _copy_if_untouched(source: Path, written: Path | None, *, tally: Tally) -> bool:
    """Encoding again would only lose; and would claim an altered gaze that is none."""
    if written is None or tally.has_changes or source.suffix.lower() != written.suffix.lower():
        return False
    shutil.copyfile(source, written)
    return True
