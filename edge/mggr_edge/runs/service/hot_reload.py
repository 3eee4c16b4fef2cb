"""Hot reload of a bundle: use a new bundle without a restart when its files are replaced."""

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
"""Interval between two checks of the path, in seconds. If the files changed since the last check,
the copy of the bundle may be incomplete. In this case, the bundle is opened at a later check."""

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Fingerprint of a bundle: name, inode, size in bytes and modification time in nanoseconds of each
file."""


class BundleReloader:
    """Frame processor that watches the path of a bundle and switches to a new bundle.

    A new bundle is opened in a background thread. If it is invalid, the error is reported once and
    the old bundle stays in use.

    Use the reloader as a context manager. The reloader owns all bundles that the redirector uses,
    including the first bundle. When a new bundle replaces a bundle, the reloader closes the old
    bundle. At exit, it closes the current bundle.

    Args:
        process: inner frame processor, which passes the frames to the redirector.
        redirector: redirector that switches to a new bundle.
        path: path of the bundle, a folder or a zip file.
        correction_of: function that returns the correction for the gazes that a new bundle
            estimates. If the bundle cannot be used, the function raises an error.
        notify: function that receives messages.
        coarse: if True, load the model `coarse` in advance, because load shedding may turn off the
            fine branch later.
        open_bundle: function that opens a bundle by its path. `None` uses `Bundle.open`.
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
        open_bundle: Callable[[str | Path], Bundle] | None = None,
    ) -> None:
        self._coarse, self._open_bundle = coarse, open_bundle or Bundle.open
        self._process, self._redirector, self._path = process, redirector, path
        self._correction_of, self._notify = correction_of, notify
        self._in_use = self._seen = fingerprint_of(path)
        self._looked_s = time.monotonic()
        self._opening: threading.Thread | None = None
        self._opened: tuple[Bundle, GazeCorrection] | str | None = None
        self._ending, self._has_ended = threading.Lock(), False

    def __enter__(self) -> BundleReloader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the current bundle, and also a new bundle that is not yet in use.

        This method does not wait for a background thread that is still opening a bundle. The thread
        closes this bundle itself.
        """
        with self._ending:
            self._has_ended = True
            opened, self._opened = self._opened, None
        if isinstance(opened, tuple):
            opened[0].close()
        self._redirector.bundle.close()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """If a new bundle is ready, switch to the new bundle. Then process the frame."""
        self._look()
        self._take()
        return self._process(frame, time_s=time_s)

    def _look(self) -> None:
        now = time.monotonic()
        if self._opening is not None or now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        before, self._seen = self._seen, fingerprint_of(self._path)
        if self._seen and self._seen == before and self._seen != self._in_use:
            self._in_use = self._seen
            self._opening = threading.Thread(target=self._open, name="bundle", daemon=True)
            self._opening.start()

    def _open(self) -> None:
        bundle, is_offered = None, False
        try:
            bundle = self._open_bundle(self._path)
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
        """Store a new bundle for the next frame.

        Returns:
            False if the reloader was closed and did not store the bundle.
        """
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
            old.close()  # Frames are processed in this thread, so no frame uses it.
            self._notify(f"{self._path} was replaced: the new bundle is in use")
        else:
            reason = opened or "it cannot be loaded"
            self._notify(
                f"{self._path} was replaced, but the new bundle is invalid; the old bundle stays "
                f"in use: {reason}"
            )


def fingerprint_of(path: Path) -> Fingerprint:
    """Return a fingerprint of all files of a bundle.

    If there is no bundle, the fingerprint is empty.

    If a bundle is opened while its files are still copied, the bundle is invalid. When the copy is
    complete, the fingerprint has changed, so the bundle is opened again.
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
