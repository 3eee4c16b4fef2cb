"""A bundle that is replaced while it is in use: the next frames use the new one, if it is good."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MggrError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import CONTRACT_FILE, SUMS_FILE
from mggr_edge.pipeline.gaze_correction import GazeCorrection
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameProcess, FrameResult

LOOK_S = 1.0
"""How often is looked; what still changes between two looks is being copied, and is left alone."""

Print = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of every file of a bundle."""


class BundleReloader:
    """Watches a bundle's path, opens a new bundle there in the background, and uses it.

    A bundle that cannot be used is reported once with the reason, and the old one stays in use.

    As a context manager it owns the redirector's bundles: each is closed after the last frame
    that uses it, the first one included, and at the end the one in use.

    Args:
        process: passes frames to the redirector.
        redirector: takes a new bundle.
        path: of the bundle, a folder or a zip.
        correction_of: correction of a new bundle's estimates; raises where it cannot be used.
        notify: takes what happens.
        coarse: whether the fine branch may be turned off later, so `coarse` is loaded as well.
    """

    def __init__(
        self,
        process: FrameProcess,
        redirector: Redirector,
        path: Path,
        *,
        correction_of: Callable[[Bundle], GazeCorrection],
        notify: Callable[[str], None],
        coarse: bool = False,
    ) -> None:
        self._coarse = coarse
        self._process, self._redirector, self._path = process, redirector, path
        self._correction_of, self._notify = correction_of, notify
        self._in_use = self._seen = _print_of(path)
        self._looked_s = time.monotonic()
        self._opening: threading.Thread | None = None
        self._opened: tuple[Bundle, GazeCorrection] | str | None = None
        self._ending, self._has_ended = threading.Lock(), False

    def __enter__(self) -> BundleReloader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the bundle in use, and one that was opened since the last frame.

        A thread that is still opening one closes it itself: the end does not wait for it.
        """
        with self._ending:
            self._has_ended = True
            opened, self._opened = self._opened, None
        if isinstance(opened, tuple):
            opened[0].close()
        self._redirector.bundle.close()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Passes a frame on, perhaps to another bundle than the one before."""
        self._look()
        self._take()
        return self._process(frame, time_s=time_s)

    def _look(self) -> None:
        now = time.monotonic()
        if self._opening is not None or now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        before, self._seen = self._seen, _print_of(self._path)
        if self._seen and self._seen == before and self._seen != self._in_use:
            self._in_use = self._seen
            self._opening = threading.Thread(target=self._open, name="bundle", daemon=True)
            self._opening.start()

    def _open(self) -> None:
        bundle, is_offered = None, False
        try:
            bundle = Bundle.open(self._path)
            correction = self._correction_of(bundle)
            bundle.try_out(coarse=self._coarse)
        except (MggrError, OSError) as error:
            self._opened = f"{error}"
        else:
            is_offered = self._offer(bundle, correction)
        finally:
            if bundle is not None and not is_offered:
                bundle.close()

    def _offer(self, bundle: Bundle, correction: GazeCorrection) -> bool:
        """Leaves a bundle to the next frame; False if there is none because the end came."""
        with self._ending:
            if not self._has_ended:
                self._opened = bundle, correction
            return not self._has_ended

    def _take(self) -> None:
        if self._opening is None or self._opening.is_alive():
            return
        opened, self._opening, self._opened = self._opened, None, None
        if isinstance(opened, tuple):
            old = self._redirector.bundle
            self._redirector.take(*opened)
            old.close()  # Frames are passed on by this thread, so no frame uses it any more.
            self._notify(f"{self._path} was replaced: the new one is in use")
        else:
            reason = opened or "it cannot be run"
            self._notify(f"{self._path} was replaced, and the old one goes on: {reason}")


def _print_of(path: Path) -> Print:
    """What changes when a bundle does; empty while none lies there.

    Of every file: one whose models are still being copied counts as bad, and is good later.
    """
    try:
        found = [
            (str(file.relative_to(path)), facts.st_ino, facts.st_size, facts.st_mtime_ns)
            for file in ([path] if path.is_file() else sorted(path.rglob("*")))
            for facts in (file.stat(),)
        ]
    except OSError:
        return ()
    names = {name for name, *_ in found}
    return tuple(found) if path.is_file() or {CONTRACT_FILE, SUMS_FILE} <= names else ()
