"""Photographs through processes: each reads one, finds its faces and cuts their eyes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import cv2

from mggr_edge.angles import Gaze, Side
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.faces import FaceFinder
from mggr_edge.interpreters import TFLiteRunner
from mggr_edge.landmark_models import find_landmark_models
from mggr_edge.streams.pictures import read_picture
from mggr_tf.data.crop.cutting import NotCut, by_size, cut_eyes
from mggr_tf.data.crop.photos import Photo
from mggr_tf.data.ctrl_c import ctrl_c_ignored
from mggr_tf.data.patch_files import patch_jpeg

_MAX_FACES = 50


@dataclass(frozen=True)
class Patch:
    """A patch, ready to be written."""

    face: int
    side: Side
    head: Gaze
    jpeg: bytes


@dataclass(frozen=True)
class Outcome:
    """What one photograph gave.

    Attributes:
        photo: the photograph.
        patches: both eyes of each face, but for those in `not_cut`.
        not_cut: eyes that cannot be used.
        failure: why there are no faces at all; None when there are.
    """

    photo: Photo
    patches: tuple[Patch, ...] = ()
    not_cut: tuple[NotCut, ...] = ()
    failure: str | None = None


class Cutter:
    """Cuts the eyes of one photograph after the other.

    A photograph with labels shows one person: its largest face counts. In any
    other all faces do.

    Raises:
        MissingPackageError: the landmark models are not on this machine.
    """

    def __init__(self) -> None:
        runners = {
            name: TFLiteRunner(path.read_bytes()) for name, path in find_landmark_models().items()
        }
        self._finder = FaceFinder(
            detector=runners["face_detector"], mesh=runners["face_mesh"], iris=runners["iris"]
        )

    def __call__(self, photo: Photo) -> Outcome:
        try:
            frame = read_picture(photo.file).rgb
        except StreamError as error:
            return Outcome(photo, failure=str(error))
        faces = by_size(self._finder.find(frame, max_faces=_MAX_FACES))
        if not faces:
            return Outcome(photo, failure="no face was found")
        cut, not_cut = cut_eyes(frame, faces[:1] if photo.name is not None else faces)
        patches = (Patch(eye.face, eye.side, eye.head, patch_jpeg(eye.patch)) for eye in cut)
        return Outcome(photo, tuple(patches), tuple(not_cut))


@contextmanager
def outcomes(photos: tuple[Photo, ...], *, workers: int) -> Iterator[Iterator[Outcome]]:
    """Gives the photographs' outcomes, in order, from so many processes.

    Whatever ends the context early, Ctrl-C for one, also ends the processes: each
    finishes the photograph that it is at, and what was not begun never is.

    Args:
        photos: what to cut.
        workers: 1 stays in this process; more are started by `spawn`, because the
            caller may hold TensorFlow's threads.

    Raises:
        UsageError: a process was killed, most likely for want of memory.
    """
    if workers == 1:
        yield map(Cutter(), photos)
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        with ctrl_c_ignored():
            cut = pool.map(_cut, photos)
        yield cut
    except BrokenProcessPool as error:
        raise UsageError(
            f"one of {workers} processes was killed, perhaps for want of memory; "
            f"try --workers {max(1, workers // 2)}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_cutter: Cutter | None = None


def _start_worker() -> None:
    global _cutter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not inherited
    cv2.setNumThreads(1)
    _cutter = Cutter()


def _cut(photo: Photo) -> Outcome:
    assert _cutter is not None
    return _cutter(photo)
