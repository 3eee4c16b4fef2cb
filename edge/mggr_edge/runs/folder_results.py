"""Results of a folder's files, whichever of them fail."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mggr_edge.errors import MggrError, StreamError
from mggr_edge.runs.picture_run import PictureDone, counted, picture_notes
from mggr_edge.runs.summary import Failure, RunSummary, Tally


class FolderResults:
    """Collects what was done with each file of a folder."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._pictures: list[PictureDone] = []
        self._videos: list[RunSummary] = []
        self._failures: list[Failure] = []
        self._fault: Exception | None = None

    @contextmanager
    def kept(self, file: Path, written: Path | None) -> Iterator[None]:
        """Keeps the results of other files when this one fails, and removes what it has written."""
        try:
            yield
        except MggrError as error:
            self._failures.append(Failure(file, str(error)))
        except Exception as error:  # noqa: BLE001 - one file's fault must not discard the others
            self._fault = self._fault or error
            message = f"{file} failed by an internal error: {type(error).__name__}: {error}"
            self._failures.append(Failure(file, message, traceback.format_exc()))
        else:
            return
        if written is not None:
            written.unlink(missing_ok=True)

    def add_picture(self, done: PictureDone) -> None:
        """Adds a picture that was processed."""
        self._tally.merge(done.tally)
        self._pictures.append(done)

    def add_video(self, summary: RunSummary) -> None:
        """Adds a video that was processed."""
        self._tally.merge(summary)
        self._videos.append(summary)

    def refuse_if_all_failed(self, folder: Path) -> None:
        """Raises what the files failed by, where none could be processed.

        Raises:
            StreamError: all failed, none by an internal error.
            Exception: the first internal error, where all failed.
        """
        if self._pictures or self._videos:
            return
        if self._fault is not None:
            raise self._fault
        raise StreamError(
            f"no picture or video of {folder} can be processed, {len(self._failures)} tried; "
            f"the first: {self._failures[0].message}"
        )

    def summary(self, output: Path | None, *, ignored: int) -> RunSummary:
        """The results as one summary."""
        notes = Counter(note for one in self._videos for note in one.notes)
        return self._tally.summary(
            "folder",
            output,
            ignored=ignored,
            files=len(self._pictures) + len(self._videos),
            videos=len(self._videos),
            failures=tuple(self._failures),
            notes=(*picture_notes(self._pictures), *counted(notes, len(self._videos))),
        )
