"""Session of the studio: redirect the frames of a source with the settings of the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import StageClock
from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.media.live.address import CameraFormat, LiveAddress, flipped
from mggr_edge.media.live.latest_frame import LatestFrameReader, LiveFrame
from mggr_edge.media.live.sources import Capture, Reconnecting, open_capture, stream_time_s
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.drawing import overlay
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameResult, PassThroughOnError
from mggr_edge.pipeline.targets import check_target
from mggr_edge.runs.console import FrameRate
from mggr_edge.runs.profile import Profile
from mggr_edge.tools.studio.calibration import PageCalibration
from mggr_edge.tools.studio.frame_encoding import Mailbox, Pair, encode_pair, face_facts


@dataclass(frozen=True)
class Settings:
    """Settings of the redirection and of the drawing.

    Attributes:
        pitch_deg, yaw_deg: angles of the target in degrees. Positive pitch is up, and positive yaw
            is to the right of the image.
        strength: fraction of the full redirection to apply while `is_on`, in [0, 1].
        is_on: True if eyes are redirected.
        overlay: True if outlines, gazes and reasons are drawn on the frame.
    """

    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    strength: float = 1.0
    is_on: bool = True
    overlay: bool = False

    @property
    def target(self) -> Gaze:
        """Target direction of the eyes."""
        return Gaze(self.pitch_deg, self.yaw_deg)

    @property
    def applied_strength(self) -> float:
        """Fraction of the full redirection to apply; 0 while `is_on` is false."""
        return self.strength if self.is_on else 0.0


_KINDS = {field.name: field.type for field in fields(Settings)}


def changed(settings: Settings, asked: Mapping[str, Any]) -> Settings:
    """Return the settings with some fields replaced.

    Args:
        settings: current settings.
        asked: new values of some fields, as parsed from JSON.

    Raises:
        UsageError: a name is unknown, or a value has a wrong type or is out of range.
    """
    values: dict[str, Any] = {name: _value(name, value) for name, value in asked.items()}
    after = replace(settings, **values)
    check_target(after.pitch_deg, after.yaw_deg)
    if not 0.0 <= after.strength <= 1.0:
        raise UsageError(
            f"strength is {after.strength:g}, expected 0 to 1",
            code="strength-out-of-range",
            strength=after.strength,
        )
    return after


def _value(name: str, value: object) -> bool | float:
    if name not in _KINDS:
        raise UsageError(
            f"unknown setting {name}; settings are {', '.join(_KINDS)}",
            code="setting-unknown",
            setting=name,
            known=", ".join(_KINDS),
        )
    if _KINDS[name] == "bool":
        if not isinstance(value, bool):
            raise UsageError(
                f"{name} is {_shown(value)}, expected true or false",
                code="setting-not-boolean",
                setting=name,
                found=_shown(value),
            )
        return value
    # In Python, bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(
            f"{name} is {_shown(value)}, expected a number",
            code="setting-not-number",
            setting=name,
            found=_shown(value),
        )
    try:
        number = float(value)
    except OverflowError:  # for integers with more than 308 digits
        number = inf
    if not isfinite(number):
        raise UsageError(
            f"{name} is {_shown(value)}, expected a finite number",
            code="setting-not-finite",
            setting=name,
            found=_shown(value),
        )
    return number


def _shown(value: object) -> str:
    """Return at most 60 characters of a value, for a message.

    For lists and objects, only the type is returned, because they may be nested deeply.
    """
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST = 60


_REMEMBERED = 60
"""Number of frames from which the median time of a stage is computed. The number is small, so that
the page shows current values."""

_FILES = ("film", "still")
_ENCODE = "encode"


@dataclass
class _Frame:
    """Frame that the page may request. The frame is encoded at the first request."""

    before: NDArray[np.uint8]
    result: FrameResult
    settings: Settings
    pair: Pair | None = None


@dataclass(frozen=True)
class Shown:
    """Response to a request for a frame.

    Attributes:
        jpeg: frame before and after redirection; `None` if no newer frame arrived before the
            timeout.
        facts: JSON-serializable values that describe the frame and the session.
    """

    jpeg: bytes | None
    facts: dict[str, Any]


class _RecordedSource:
    """Source that calls a function for each frame.

    The thread that reads the source calls the function. Therefore the calls and the messages of the
    source are in the right order.

    Args:
        source: source that is read.
        note: function that is called for each frame.
    """

    def __init__(self, source: Capture, note: Callable[[], None]) -> None:
        self._source, self._note = source, note
        self.close = source.close

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame; see `Capture`."""
        frame = self._source.read()
        if frame is not None:
            self._note()
        return frame

    @property
    def stream_time_s(self) -> float | None:
        """Time of the last frame, measured with the clock of the source; see `Clocked`."""
        return stream_time_s(self._source)


class Session:
    """Redirection of a live source. Frames are processed only while a page requests them.

    `open_session` runs a session.

    Attributes:
        stop: event that ends the session. Any thread may set it.
        error: exception that ended the session; `None` if there was no exception.

    Args:
        address: address of the source.
        bundle: bundle with the models.
        camera_format: frame size, rate and orientation to request from a camera.
        profile: calibration profile of the person; `None` for no correction.
        profile_path: path of the profile that a calibration writes; `None` if calibration is not
            possible.
        stop: event that ends the session.
        notify: function that receives a message with the mode of a camera.
    """

    def __init__(
        self,
        address: LiveAddress,
        bundle: Bundle,
        *,
        camera_format: CameraFormat,
        profile: Profile | None,
        profile_path: Path | None,
        stop: threading.Event,
        notify: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.stop = stop
        self.error: BaseException | None = None
        self._address, self._bundle, self._camera_format = address, bundle, camera_format
        self._say_mode = notify
        self._name = Path(address.place).name if address.scheme in _FILES else str(address)
        self._lock = threading.Lock()
        self._settings, self._revision = Settings(), 0
        self._clock = StageClock(remembered=_REMEMBERED)
        self._encoding, self._encoding_clock = threading.Lock(), StageClock(remembered=_REMEMBERED)
        self._rate, self._per_s, self._medians_ms = FrameRate(), 0.0, dict[str, float]()
        self._latest: Mailbox[_Frame] = Mailbox()
        self._redirector = self._in_use = self._made(profile)
        self._careful = PassThroughOnError(self._redirect, notify=lambda text: None)
        self.calibration = PageCalibration(
            bundle, path=profile_path, profile=profile, found=self._take_profile
        )
        self._lost: str | None = None
        self._dropped = 0
        self._seen_s = time.monotonic()

    @property
    def settings(self) -> Settings:
        """Current settings."""
        return self._settings

    def set(self, asked: Mapping[str, Any]) -> int:
        """Change the settings of the following frames.

        Returns:
            The number of changes so far. Facts with a smaller `revision` have older settings.

        Raises:
            UsageError: see `changed`.
        """
        with self._lock:
            self._settings = changed(self._settings, asked)
            self._revision += 1
            return self._revision

    def shown(self, number: int, *, patience_s: float) -> Shown:
        """Return the newest frame. If the page already shows this frame, wait for the next frame.

        Args:
            number: number of the frame that the page shows; 0 if it shows none.
            patience_s: timeout in seconds.
        """
        found = self._latest.after(number, patience_s=patience_s)
        if found is None:
            return Shown(None, self._session_facts())
        frame = found[1]
        with self._encoding:
            if frame.pair is None:
                with self._encoding_clock(_ENCODE):
                    frame.pair = encode_pair(frame.before, self._drawn(frame))
        of_frame = {
            "number": found[0],
            "size": frame.pair.size,
            "after_x": frame.pair.after_x,
            "shown": asdict(frame.settings),
            "faces": [face_facts(face, frame.before.shape) for face in frame.result.faces],
            "failure": frame.result.failure,
        }
        return Shown(frame.pair.jpeg, self._session_facts() | of_frame)

    def run(self) -> None:
        """Read and redirect frames until `stop` is set. Call this function in a separate thread."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised by `open_session`
            self.error = error
        finally:
            self.stop.set()
            self._latest.close()

    def _run(self) -> None:
        source = Reconnecting(
            partial(open_capture, self._address, self._camera_format, notify=self._say_mode),
            name=str(self._address),
            stop=self.stop,
            notify=self._notify,
            beat=lambda: None,
        )
        with LatestFrameReader(_RecordedSource(source, self._note_frame), stop=self.stop) as newest:
            for frame in newest:
                self._dropped = newest.dropped
                if self._latest.is_watched:
                    self._pass(frame)

    def _pass(self, frame: LiveFrame) -> None:
        rgb = flipped(frame.rgb, self._camera_format.flip)
        settings, calibrating = self._settings, self.calibration.redirector
        self._redirector.target = settings.target
        self._redirector.strength = settings.applied_strength
        self._in_use = calibrating or self._redirector
        result = self._careful(rgb, time_s=frame.time_s)
        if calibrating is not None:
            self.calibration.see(result, frame.time_s, by=calibrating)
        self._per_s, self._medians_ms = self._rate.tick(), self._clock.medians_ms()
        self._latest.put(_Frame(rgb, result, settings))

    def _redirect(self, rgb: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        return self._in_use.process(rgb, time_s=time_s)

    def _drawn(self, frame: _Frame) -> NDArray[np.uint8]:
        if not frame.settings.overlay:
            return frame.result.frame
        return overlay(frame.before, frame.result)

    def _made(self, profile: Profile | None) -> Redirector:
        correction = NO_CORRECTION if profile is None else profile.correction
        return Redirector(self._bundle, stages=self._clock, correction=correction)

    def _take_profile(self, profile: Profile) -> None:
        self._redirector = self._made(profile)

    def _notify(self, text: str) -> None:
        """Store a message about the loss of the source. The next frame deletes the message."""
        self._lost = text

    def _note_frame(self) -> None:
        self._lost, self._seen_s = None, time.monotonic()

    def _session_facts(self) -> dict[str, Any]:
        with self._encoding:
            encoding_ms = self._encoding_clock.medians_ms()
        with self._lock:
            settings, revision = self._settings, self._revision
        return {
            "source": {
                "name": self._name,
                "lost": self._lost,
                "silent_s": round(time.monotonic() - self._seen_s, 1),
                "dropped": self._dropped,
            },
            "settings": asdict(settings),
            "revision": revision,
            "per_s": round(self._per_s, 1),
            "stages_ms": {
                name: round(ms, 1) for name, ms in (self._medians_ms | encoding_ms).items()
            },
            "calibration": self.calibration.state().facts(),
        }


@contextmanager
def open_session(session: Session) -> Iterator[Session]:
    """Run a session in a separate thread until the context ends.

    Raises:
        MggrError: an error ended the session.
    """
    thread = threading.Thread(target=session.run, name="studio", daemon=True)
    thread.start()
    try:
        yield session
    finally:
        session.stop.set()
        thread.join(1.0)
    if session.error is not None:
        raise session.error
