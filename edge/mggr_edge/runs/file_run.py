"""Process a file or a folder frame by frame, and write an output of the same kind.

The argument `process` changes the frames: it is `Redirector.process` or any other `FrameProcess`.
Therefore this module does not depend on the method of the redirection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file, atomic_folder
from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.common.timing import Stages, no_stages
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.files.credentials import Signing
from mggr_edge.media.files.kept import not_kept
from mggr_edge.media.files.marks import ESTIMATED, REDIRECTED
from mggr_edge.media.files.paths import (
    NOWHERE,
    VIDEO_SUFFIXES,
    Source,
    choose_output,
    files_in,
    find_source,
    output_names,
    unnamed_output,
)
from mggr_edge.media.files.pyav import fitted
from mggr_edge.media.files.ten_bit import TenBitPicture
from mggr_edge.media.files.video_reader import (
    AudioPacket,
    TimedFrame,
    Video,
    VideoLayout,
    open_video,
)
from mggr_edge.media.files.video_writer import (
    NoWriter,
    VideoWriter,
    open_writer,
)
from mggr_edge.media.files.written import copy_whole
from mggr_edge.media.live.file_playback import open_looped
from mggr_edge.pipeline.results import FrameProcess, FrameResult
from mggr_edge.runs.original_values import shown_original
from mggr_edge.runs.picture_run import FolderResults, PictureDone, picture_notes, redirect_picture
from mggr_edge.runs.summary import RunSummary, Tally


def _nothing() -> None:
    """Do nothing: a single file needs no reset."""


def run(
    source_path: str | Path,
    output_path: str | Path | None = None,
    *,
    process: FrameProcess,
    columns: int = 1,
    comment: str = REDIRECTED,
    force: bool = False,
    loops: int = 0,
    progress: Progress = no_progress,
    stages: Stages = no_stages,
    reset: Callable[[], None] = _nothing,
    signing: Signing | None = None,
) -> RunSummary:
    """Redirect a picture, a folder of pictures and videos, or a video file.

    If no pixel was changed and the output has the file type of the input, the output is a
    byte-for-byte copy of the input. If the output is a video of another file type, it is encoded
    even if no pixel was changed. The comment in the output then states that the gaze was not
    altered.

    Args:
        source_path: path of the input.
        output_path: path of an output of the same kind. `None` writes `<name>-redirected` to the
            folder of the input. If this path exists, a number is appended to the name. `null://`
            writes nothing.
        process: function that processes each frame.
        columns: width of the frames that `process` returns, divided by the width of the input.
        comment: comment in the metadata of a video.
        force: if True, an existing file or folder at `output_path` is replaced.
        loops: number of times that a video is repeated; -1 repeats it endlessly. If an output is
            written, only the value 0 is accepted.
        progress: function that shows the progress.
        stages: function that measures the time for reading and writing.
        reset: function that is called before each video or animation of a folder, because the frame
            times start at 0 again.
        signing: key and certificates with which changed files are signed. `None` signs no file.

    Raises:
        UsageError: the output does not match the input, the output exists and `force` is false,
            `loops` is not accepted for this input or output, or the output cannot be signed.
        StreamError: the input is missing or damaged, or the output cannot be written. No partial
            output remains. If a file of a folder fails, the summary lists the failure;
            `StreamError` is raised only if all files fail.
        MissingPackageError: a package is missing: PyAV for videos, or Pillow for pictures.
    """
    source = find_source(source_path)
    output = choose_output(source, output_path, force=force)
    if loops and source.kind != "video":
        raise UsageError(
            f"{source.path} is a {source.kind} and cannot be repeated; omit --input-loop",
            code="loop-for-other-kind",
            path=source.path,
            found=source.kind,
        )
    if loops and output is not None:
        raise UsageError(
            f"--input-loop cannot write a repeated video to the file {output}; use the output "
            f"display://0 or {NOWHERE}, or omit --input-loop",
            code="loop-to-file",
            path=source.path,
            output=output,
        )
    if signing is not None and output is not None and source.kind != "folder":
        signing.check_format(output)
    is_named = output_path is not None
    task = _Task(
        source,
        output,
        is_named,
        process,
        columns,
        comment,
        force,
        loops,
        progress,
        stages,
        reset,
        signing,
    )
    summary = _RUN[source.kind](task)
    if not task.moved:
        return summary
    if is_named:
        raise StreamError(
            f"{output} was created by another program during the run; the result is in "
            f"{task.moved[-1]}",
            code="output-path-taken",
            path=output,
            saved_as=task.moved[-1],
        )
    return replace(summary, output=task.moved[-1])


class _Placing(TypedDict):
    """Keyword arguments of `atomic_file` and `atomic_folder`."""

    force: bool
    elsewhere: Callable[[Path], None]
    numbered: Callable[[int], Path] | None


@dataclass(frozen=True)
class _Task:
    """Validated arguments of `run`."""

    source: Source
    output: Path | None
    is_named: bool
    process: FrameProcess
    columns: int
    comment: str
    force: bool
    loops: int
    progress: Progress
    stages: Stages
    reset: Callable[[], None]
    signing: Signing | None = None
    moved: list[Path] = field(default_factory=list)
    """If another program created a file with the chosen name during the run, the list contains the
    path at which the result was saved. Otherwise, the list is empty."""

    def new_file(self, output: Path) -> AbstractContextManager[Path]:
        """Return a context that writes an output to a temporary file; see `atomic_file`."""
        return atomic_file(output, **self._placing())

    def new_folder(self, output: Path) -> AbstractContextManager[Path]:
        """Return a context that writes an output to a temporary folder; see `atomic_folder`."""
        return atomic_folder(output, **self._placing())

    def _placing(self) -> _Placing:
        return {
            "force": self.force and self.is_named,  # --force replaces only a named output
            "elsewhere": self.moved.append,
            "numbered": None if self.is_named else partial(unnamed_output, self.source),
        }

    @property
    def path(self) -> Path:
        """Path of the input."""
        return self.source.path

    def sign(self, written: Path, *, source: Path, tally: Tally) -> None:
        """Sign a complete output if pixels were changed."""
        if self.signing is not None and tally.has_changes and self.comment == REDIRECTED:
            title = written if self.output is None else self.output
            self.signing.sign(written, source=source, title=title.name)


def _run_picture(task: _Task) -> RunSummary:
    if task.output is None:
        done = _redirect_picture(task, task.path, None, reset=_nothing)
    else:
        with task.new_file(task.output) as temporary:
            done = _redirect_picture(task, task.path, temporary, reset=_nothing)
    return done.tally.summary(
        "picture", task.output, is_copy=done.is_copy, notes=picture_notes([done])
    )


def _redirect_picture(
    task: _Task, path: Path, written: Path | None, *, reset: Callable[[], None]
) -> PictureDone:
    done = redirect_picture(
        path,
        written,
        process=task.process,
        comment=task.comment,
        reset=reset,
        stages=task.stages,
    )
    if written is not None:
        task.sign(written, source=path, tally=done.tally)
    return done


def _run_folder(task: _Task) -> RunSummary:
    files, ignored = files_in(task.path)
    if not files:
        raise StreamError(
            f"{task.path} contains no pictures or videos (number of other entries: {ignored}); "
            "pass a folder that contains pictures or videos",
            code="folder-without-media",
            path=task.path,
            ignored=ignored,
        )
    results = FolderResults()
    names = output_names(files)
    with (
        _folder_for(task) as temporary,
        task.progress(f"redirecting {task.path.name}", len(files)) as advance,
    ):
        for file in files:
            written = None if temporary is None else temporary / names[file]
            with results.kept(file, written):
                if file.suffix.lower() in VIDEO_SUFFIXES:
                    task.reset()
                    results.add_video(_run_video(_of_folder(task, file, written)))
                else:
                    results.add_picture(_redirect_picture(task, file, written, reset=task.reset))
            advance()
        results.refuse_if_all_failed(task.path)
    return results.summary(task.output, ignored=ignored)


def _of_folder(task: _Task, file: Path, written: Path | None) -> _Task:
    """Return the task of one video of a folder."""
    return replace(
        task,
        source=Source("video", file),
        output=written,
        is_named=True,
        force=False,
        progress=no_progress,
        moved=[],
    )


def _folder_for(task: _Task) -> AbstractContextManager[Path | None]:
    if task.output is None:
        return nullcontext()
    return task.new_folder(task.output)


def _run_video(task: _Task) -> RunSummary:
    tally = Tally()
    if task.output is None:
        with _opened_video(task) as video:
            _redirect_video(video, NoWriter(), task=task, tally=tally)
        return tally.summary("video", None)
    with task.new_file(task.output) as temporary:
        notes = _write_video(task, temporary, tally=tally)
        is_copy = _copy_if_untouched(task.path, temporary, tally=tally)
        if not is_copy and not tally.has_changes and task.comment == REDIRECTED:
            # The comment states a redirection, but no frame was changed. Write the video again with
            # another comment, because the comment precedes the frames in the file.
            _write_video(_unchanged(task), temporary, tally=Tally())
        task.sign(temporary, source=task.path, tally=tally)
    return tally.summary("video", task.output, is_copy=is_copy, notes=() if is_copy else notes)


def _write_video(task: _Task, temporary: Path, *, tally: Tally) -> tuple[str, ...]:
    """Write the video of the task to a file, and return notes on how it differs from the input."""
    assert task.output is not None
    with open_video(task.path) as video:
        layout = video.layout.widened(task.columns)
        with open_writer(temporary, layout, path=task.output, comment=task.comment) as writer:
            _redirect_video(video, writer, task=task, tally=tally)
    return (*video.notes, *writer.notes, *not_kept(sorted(video.losses), writer.losses))


def _unchanged(task: _Task) -> _Task:
    """Return a copy of the task that changes no frame and has a suitable comment."""

    def same(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        return FrameResult(frame, ())

    return replace(task, process=same, comment=ESTIMATED, progress=no_progress)


def _opened_video(task: _Task) -> AbstractContextManager[Video]:
    return open_looped(task.path, task.loops) if task.loops else open_video(task.path)


def _redirect_video(
    video: Video, writer: VideoWriter | NoWriter, *, task: _Task, tally: Tally
) -> None:
    items = iter(video.items)
    begins_s: float | None = None
    with task.progress(f"redirecting {task.path.name}", video.layout.frames) as advance:
        while True:
            with task.stages("read"):
                item = next(items, None)
            if item is None:
                return
            if isinstance(item, AudioPacket):
                writer.pass_audio(item)
                continue
            # The times in a video file may start at any value. Subtract the time of the first
            # frame.
            begins_s = item.time_s if begins_s is None else begins_s
            result = task.process(item.rgb, time_s=item.time_s - begins_s)
            with task.stages("write"):
                if isinstance(writer, VideoWriter):
                    writer.write(_written(item, result, video.layout, task.columns), item)
            tally.refitted += item.rgb.shape[:2] != video.layout.size
            tally.add(item.rgb, result)
            advance()


def _written(
    item: TimedFrame, result: FrameResult, layout: VideoLayout, columns: int
) -> NDArray[np.uint8] | TenBitPicture:
    """Return the frame to write.

    The frame is RGB. For an HDR or 10-bit video, it has the stored values of the video.
    """
    is_refitted = item.rgb.shape[:2] != layout.size
    size = layout.widened(columns).size
    if item.original is None:
        return fitted(result.frame, size) if is_refitted else result.frame
    shown = shown_original(item.original, item.rgb, result, layout.colour.code_map)
    return shown.fitted(size) if is_refitted else shown


_RUN: dict[str, Callable[[_Task], RunSummary]] = {
    "picture": _run_picture,
    "folder": _run_folder,
    "video": _run_video,
}


def _copy_if_untouched(source: Path, written: Path | None, *, tally: Tally) -> bool:
    """If no pixel changed, replace the written file by a copy of the input.

    The encoded file has a lower quality, and its comment states that the gaze was altered.

    Returns:
        True if the file was replaced.
    """
    if written is None or tally.has_changes or source.suffix.lower() != written.suffix.lower():
        return False
    copy_whole(source, written)
    return True
