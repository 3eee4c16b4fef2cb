"""Hot reload of a bundle: the next frames use a replaced bundle if it is valid."""

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
"""Interval between two checks of the path, in seconds. A bundle that changes between two checks is
still being copied and is not opened yet."""

Print = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size in bytes and modification time in nanoseconds of every file of a bundle."""


class BundleReloader:
    """Frame process that watches the path of a bundle and switches to a new bundle.

    A new bundle is opened in a background thread. If it is invalid, the error is reported once and
    the old bundle stays in use.

    As a context manager, the reloader owns the redirector's bundles, including the first one. It
    closes each bundle after the last frame that uses it, and the current bundle at exit.

    Args:
        process: wrapped frame process, which passes frames to the redirector.
        redirector: redirector that switches to a new bundle.
        path: path of the bundle, a folder or a zip file.
        correction_of: returns the correction for a new bundle's estimates; raises an error if the
            bundle cannot be used.
        notify: receives messages.
        coarse: True if the fine branch may be turned off later, so that the model `coarse` is
            loaded in advance.
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
        """Close the current bundle, and a bundle that was opened since the last frame.

        A background thread that is still opening a bundle closes that bundle itself, so `close`
        does not wait for the thread.
        """
        with self._ending:
            self._has_ended = True
            opened, self._opened = self._opened, None
        if isinstance(opened, tuple):
            opened[0].close()
        self._redirector.bundle.close()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Process a frame, after switching to a new bundle if one is ready."""
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
        """Store a bundle for the next frame; return False if the reloader was closed."""
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
            old.close()  # This thread processes the frames, so none uses the old bundle.
            self._notify(f"{self._path} was replaced: the new bundle is in use")
        else:
            reason = opened or "it cannot be loaded"
            self._notify(
                f"{self._path} was replaced, but the new bundle is invalid; the old bundle stays "
                f"in use: {reason}"
            )


def _print_of(path: Path) -> Print:
    """Return a fingerprint that changes when the bundle changes; empty if there is no bundle.

    The fingerprint covers every file. A bundle whose models are still being copied is invalid when
    it is opened; after the copy, its fingerprint differs, so it is opened again.
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
