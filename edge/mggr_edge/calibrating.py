"""Measures a profile: a look into the lens, and one at the screen's middle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import Gaze
from mggr_edge.bundle import Bundle
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.live.address import LiveAddress
from mggr_edge.live.capture import OpenedByReader, open_capture
from mggr_edge.live.newest import LiveFrame, Newest
from mggr_edge.live.picture_format import PictureFormat, flipped
from mggr_edge.profile import Profile, estimator_of
from mggr_edge.redirector import Redirector
from mggr_edge.results import FaceResult, FrameResult

FRAMES = 40
"""Of each look: what is measured is their median."""

PATIENCE_S = 20.0
_SETTLE_S = 0.4
"""Eyes still move when the key is pressed."""

MOST_SPREAD_DEG = 4.0
LEAST_APART_DEG = 1.5

LENS = "look into the lens"
SCREEN = "look at the middle of your screen"


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes:
        gaze_deg: (pitch, yaw), the median, in the head's axes; see `profile.Profile`.
        spread_deg: median distance from it.
    """

    gaze_deg: tuple[float, float]
    spread_deg: float


def calibrate(
    address: LiveAddress,
    bundle: Bundle,
    *,
    wanted: PictureFormat,
    ask: Callable[[str], None],
    say: Callable[[str], None] = lambda text: None,
) -> Profile:
    """Asks for both looks.

    Args:
        address: of the camera.
        bundle: whose estimator is asked.
        wanted: size and rate of its pictures, and which way up it hangs.
        ask: says what to look at, and returns when somebody does.
        say: takes the mode of the camera.

    Raises:
        StreamError: the camera is lost, or shows no open eyes for a while.
        UsageError: the eyes did not keep still, or both looks are one.
    """
    source = OpenedByReader(partial(open_capture, address, wanted, say=say))
    with Newest(source, stop=threading.Event()) as newest:
        frames = (
            LiveFrame(flipped(frame.rgb, wanted.flip), frame.time_s) for frame in iter(newest)
        )
        if next(frames, None) is None:  # nobody is asked to look at a camera that gives nothing
            raise StreamError(f"{address} ended before its first frame")
        redirector = Redirector(bundle, strength=0.0, max_faces=1)
        lens, screen = (_take(frames, redirector, what, ask) for what in (LENS, SCREEN))
    return profile_of_looks(lens, screen, bundle)


def profile_of_looks(lens: Look, screen: Look, bundle: Bundle) -> Profile:
    """What two looks say of a bundle's estimator.

    Raises:
        UsageError: both looks are one.
    """
    apart_deg = Gaze(*lens.gaze_deg).angle_to(Gaze(*screen.gaze_deg))
    if apart_deg < LEAST_APART_DEG:
        raise UsageError(
            f"the two looks are {apart_deg:.1f} degrees apart, too little to be told from one; "
            "look into the lens itself first, then at the middle of the screen"
        )
    return Profile(estimator_of(bundle.contract), lens.gaze_deg, screen.gaze_deg)


class LookTaker:
    """Gathers one look, frame by frame.

    Args:
        what: somebody is asked to do, `LENS` or `SCREEN`.
        settle_s: so long after the first frame nothing is taken yet; None for the time that
            eyes take after a key.
    """

    def __init__(self, what: str, *, settle_s: float | None = None) -> None:
        self._what = what
        self._settle_s = _SETTLE_S if settle_s is None else settle_s
        self._seen: list[NDArray[np.float64]] = []
        self._begun_s: float | None = None

    @property
    def seen(self) -> int:
        """Frames taken so far, of `FRAMES`."""
        return len(self._seen)

    def take(self, result: FrameResult, time_s: float) -> Look | None:
        """Takes a frame whose gaze was estimated and not changed; gives the look once it is whole.

        Args:
            result: of the frame.
            time_s: of the frame, going forward.

        Raises:
            StreamError: no open eyes for too long.
            UsageError: the eyes did not keep still.
        """
        self._begun_s = time_s if self._begun_s is None else self._begun_s
        past_s = time_s - self._begun_s
        if past_s > PATIENCE_S:
            raise StreamError(
                f"only {self.seen} of {FRAMES} frames in {PATIENCE_S:g} seconds show open eyes; "
                "sit before the camera, in the light"
            )
        gaze = _gaze(result.faces[0]) if result.faces else None
        if gaze is not None and past_s >= self._settle_s:
            self._seen.append(gaze.array().astype(np.float64))
        return _median(np.array(self._seen), self._what) if self.seen == FRAMES else None


def _take(
    frames: Iterator[LiveFrame], redirector: Redirector, what: str, ask: Callable[[str], None]
) -> Look:
    ask(what)
    taker = LookTaker(what)
    for frame in frames:
        result = redirector.process(frame.rgb, time_s=frame.time_s)
        if (look := taker.take(result, frame.time_s)) is not None:
            return look
    raise StreamError(f"the camera ended after {taker.seen} of {FRAMES} frames of a look")


def _gaze(face: FaceResult) -> Gaze | None:
    """The estimated gaze in the head's axes."""
    gaze = next((eye.gaze_before for eye in face.eyes if eye.gaze_before is not None), None)
    return None if gaze is None else gaze.rolled(face.roll_deg)


def _median(seen: NDArray[np.float64], what: str) -> Look:
    pitch, yaw = np.median(seen, axis=0)
    spread_deg = float(np.median(np.hypot(*(seen - (pitch, yaw)).T)))
    if spread_deg > MOST_SPREAD_DEG:
        raise UsageError(
            f"the eyes moved by {spread_deg:.1f} degrees; {what} without looking elsewhere"
        )
    return Look((round(float(pitch), 2), round(float(yaw), 2)), spread_deg)
