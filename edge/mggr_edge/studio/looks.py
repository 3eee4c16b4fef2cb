"""Calibrating from the page: two looks, each taken when somebody says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mggr_edge import calibrating
from mggr_edge.bundle import Bundle
from mggr_edge.calibrating import LENS, SCREEN, Look, LookTaker, profile_of_looks
from mggr_edge.errors import MggrError, UsageError
from mggr_edge.profile import Profile, write_profile
from mggr_edge.redirector import Redirector
from mggr_edge.results import FrameResult

Where = Literal["lens", "screen"]

_ASKED: dict[Where, str] = {"lens": LENS, "screen": SCREEN}

SETTLE_S = 1.5
"""Eyes that were on a button are where they were asked to be by then."""


@dataclass(frozen=True)
class LooksState:
    """How far calibrating has come, for the page.

    Attributes:
        running: the look that is being taken; None between them.
        share: in [0, 1], how much of it.
        done: looks that are whole.
        failure: what went wrong with the last one.
        path: where the profile is written; None while nothing can be calibrated.
        offset_deg: (pitch, yaw) that is taken off every estimate; None without a profile.
    """

    running: Where | None = None
    share: float = 0.0
    done: tuple[Where, ...] = ()
    failure: str | None = None
    path: str | None = None
    offset_deg: tuple[float, float] | None = None

    def facts(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


class Looks:
    """Takes looks from the frames that pass, and writes a profile when both are there.

    Args:
        bundle: whose estimator is asked.
        path: of the profile, replaced if it is there; None where nothing can be calibrated,
            because the source is no camera.
        profile: what is used until then.
        found: takes a new profile.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        path: Path | None,
        profile: Profile | None,
        found: Callable[[Profile], None],
    ) -> None:
        self._bundle, self._path, self._profile, self._found = bundle, path, profile, found
        self._lock = threading.Lock()
        self._looks: dict[Where, Look] = {}
        self._running: tuple[Where, LookTaker, Redirector] | None = None
        self._failure: str | None = None

    def begin(self, where: str) -> None:
        """Takes a look from now on; one that is being taken is given up.

        Raises:
            UsageError: no such look, or a source that is no camera.
        """
        if where not in _ASKED:
            raise UsageError(f"{where!r} is no look; looks are {', '.join(_ASKED)}")
        if self._path is None:
            raise UsageError("calibrating needs a camera and somebody before it, not a file")
        taker = LookTaker(_ASKED[where], settle_s=SETTLE_S)
        seeing = Redirector(self._bundle, strength=0.0, max_faces=1)
        with self._lock:
            self._running, self._failure = (where, taker, seeing), None
            self._looks.pop(where, None)

    @property
    def redirector(self) -> Redirector | None:
        """What frames go through while a look is taken; None between looks."""
        running = self._running
        return None if running is None else running[2]

    def see(self, result: FrameResult, time_s: float, *, by: Redirector) -> None:
        """Takes a frame that went through `redirector`.

        Args:
            result: of the frame.
            time_s: of the frame.
            by: what it went through; a look that was begun since then does not take it.
        """
        with self._lock:
            running = self._running
        if running is None or running[2] is not by:
            return
        where, taker, _ = running
        look, failure = None, None
        try:
            look = taker.take(result, time_s)
        except MggrError as error:
            failure = str(error)
        if look is None and failure is None:
            return
        with self._lock:
            if self._running is running:
                self._running, self._failure = None, failure
                if look is not None:
                    self._looks[where] = look
        self._finish()

    def _finish(self) -> None:
        """Writes the profile once both looks are there."""
        with self._lock:
            if self._path is None or set(self._looks) != set(_ASKED):
                return
            lens, screen = self._looks["lens"], self._looks["screen"]
            self._looks.clear()
            try:
                profile = profile_of_looks(lens, screen, self._bundle)
                write_profile(self._path, profile, force=True)
            except MggrError as error:
                self._failure = str(error)
                return
            self._profile = profile
        self._found(profile)

    def state(self) -> LooksState:
        """How far it has come."""
        with self._lock:
            running, offset = self._running, self._profile
            return LooksState(
                running=None if running is None else running[0],
                share=0.0 if running is None else running[1].seen / calibrating.FRAMES,
                done=tuple(self._looks),
                failure=self._failure,
                path=None if self._path is None else str(self._path),
                offset_deg=None if offset is None else offset.lens_deg,
            )
