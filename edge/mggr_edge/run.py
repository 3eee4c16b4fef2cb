"""From a file to a file of the same kind, each frame through the redirector.

Nothing here knows how eyes are redirected: `process` is `Redirector.process`,
or anything of its shape.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.atomic import atomic_file, atomic_folder
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.progress import Progress, no_progress
from mggr_edge.streams.paths import Source, choose_output, find_source, pictures_in
from mggr_edge.streams.pictures import read_picture, write_picture
from mggr_edge.streams.video_reader import AudioPacket, VideoLayout, open_video
from mggr_edge.streams.video_writer import is_padded, open_writer
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
    force: bool = False,
    progress: Progress = no_progress,
) -> RunSummary:
    """Redirects a picture, a folder of pictures or a video file.

    Where no pixel was changed, the output is the input byte for byte (a video
    whose container cannot be kept is encoded all the same).

    Args:
        source_path: the input.
        output_path: of the same kind; None puts `<name>-redirected` beside the
            input, numbered if that is taken.
        process: what is done to each frame.
        force: a named output that exists may be replaced.
        progress: shows how far it is.

    Raises:
        UsageError: the output does not fit the input, or exists without `force`.
        StreamError: the input is missing or damaged, or the output cannot be
            written; nothing is left behind. Of a folder's pictures, one that
            fails is listed in the summary, and only if all fail it is an error.
        MissingPackageError: a video without PyAV.
    """
    source = find_source(source_path)
    output = choose_output(source, output_path, force=force)
    return _RUN[source.kind](source, output, process=process, force=force, progress=progress)


def _run_picture(
    source: Source, output: Path, *, process: Process, force: bool, progress: Progress
) -> RunSummary:
    tally = Tally()
    with atomic_file(output, force=force) as temporary:
        is_complete = _redirect_picture(source.path, temporary, process=process, tally=tally)
        is_copy = _copy_if_untouched(source.path, temporary, tally=tally)
    notes = () if is_copy or is_complete else (_PROFILE_NOTE,)
    return tally.summary("picture", output, is_copy=is_copy, notes=notes)


def _run_folder(
    source: Source, output: Path, *, process: Process, force: bool, progress: Progress
) -> RunSummary:
    pictures, ignored = pictures_in(source.path)
    if not pictures:
        raise StreamError(f"{source.path} holds no pictures, only {ignored} other entries")
    total, failures = Tally(), []
    notes: tuple[str, ...] = ()
    with (
        atomic_folder(output, force=force) as temporary,
        progress(f"redirecting {source.path.name}", len(pictures)) as advance,
    ):
        for picture in pictures:
            tally, written = Tally(), temporary / picture.name
            try:
                is_complete = _redirect_picture(picture, written, process=process, tally=tally)
                if not (_copy_if_untouched(picture, written, tally=tally) or is_complete):
                    notes = (_PROFILE_NOTE,)
                total.merge(tally)
            except (StreamError, UsageError) as error:
                written.unlink(missing_ok=True)  # a full disk leaves half a picture
                failures.append(Failure(picture, str(error)))
            advance()
        if len(failures) == len(pictures):
            raise StreamError(
                f"no picture of {source.path} can be processed, {len(pictures)} tried; "
                f"the first: {failures[0].message}"
            )
    return total.summary("folder", output, ignored=ignored, failures=tuple(failures), notes=notes)


def _run_video(
    source: Source, output: Path, *, process: Process, force: bool, progress: Progress
) -> RunSummary:
    tally = Tally()
    with atomic_file(output, force=force) as temporary:
        with (
            open_video(source.path) as video,
            open_writer(temporary, video.layout, path=output) as writer,
            progress(f"redirecting {source.path.name}", video.layout.frames) as advance,
        ):
            layout = video.layout
            for item in video.items:
                if isinstance(item, AudioPacket):
                    writer.pass_audio(item)
                    continue
                result = process(item.rgb, time_s=item.time_s)
                writer.write(result.frame, item)
                tally.add(item.rgb, result)
                advance()
        is_copy = _copy_if_untouched(source.path, temporary, tally=tally)
    notes = () if is_copy else _notes(layout)
    return tally.summary("video", output, is_copy=is_copy, notes=notes)


_RUN: dict[str, Callable[..., RunSummary]] = {
    "picture": _run_picture,
    "folder": _run_folder,
    "video": _run_video,
}


def _redirect_picture(path: Path, written: Path, *, process: Process, tally: Tally) -> bool:
    picture = read_picture(path)
    result = process(picture.rgb)
    tally.add(picture.rgb, result)
    return write_picture(written, replace(picture, rgb=result.frame))


def _copy_if_untouched(source: Path, written: Path, *, tally: Tally) -> bool:
    """Encoding again would only lose; and would claim an altered gaze that is none."""
    if tally.has_changes or source.suffix.lower() != written.suffix.lower():
        return False
    shutil.copyfile(source, written)
    return True


def _notes(layout: VideoLayout) -> tuple[str, ...]:
    notes = []
    if is_padded(layout):
        height, width = layout.size
        notes.append(
            f"{width} x {height} became {width + width % 2} x {height + height % 2}, "
            "because H.264 needs even sizes"
        )
    if layout.left_out:
        notes.append(f"left out streams that are neither: {', '.join(layout.left_out)}")
    return tuple(notes)
