"""Open each bundle once for all cameras of one process."""

from __future__ import annotations

import threading
from pathlib import Path

from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import bundle_path
from mggr_edge.runs.service.hot_reload import Fingerprint, fingerprint_of


class SharedBundles:
    """Bundles by path. Any thread may use this object.

    Each user of a bundle closes it. When the last user has closed a bundle, its models are
    released. If the files of a bundle have changed, the next user gets a new bundle, and the other
    users keep the old bundle until they close it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: dict[Path, tuple[Fingerprint, Bundle]] = {}

    def open(self, path: str | Path) -> Bundle:
        """Return a bundle for one more user; see `Bundle.open` for the path and the errors."""
        place = bundle_path(path)
        fingerprint = fingerprint_of(place)
        with self._lock:
            known, bundle = self._opened.get(place, ((), None))
            if bundle is not None and known == fingerprint:
                try:
                    return bundle.share()
                except ValueError:  # its last user has closed it
                    pass
            bundle = Bundle.open(path)
            self._opened[place] = fingerprint, bundle
            return bundle
