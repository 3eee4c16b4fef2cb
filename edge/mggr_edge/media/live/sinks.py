"""Open live outputs by address: recordings, windows, virtual cameras and RTSP streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.address_hints import closest_output
from mggr_edge.common.addresses import (
    OUTPUT_FORMS,
    Served,
    closest_form,
    names_a_folder,
    output_address,
    output_scheme,
    redact_credentials,
    served_at,
)
from mggr_edge.common.atomic import check_place
from mggr_edge.errors import MissingPackageError, OutputExistsError, StreamError, UsageError
from mggr_edge.media.files.marks import REDIRECTED
from mggr_edge.media.files.paths import VIDEO_OUTPUT_SUFFIXES
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.files.video_writer import NoWriter
from mggr_edge.media.live.cameras import Controls
from mggr_edge.media.live.recordings import LiveWriter, Recording, Segments, Verb
from mggr_edge.media.live.retention import KEEP_ALL, Retention


class LiveOutput(Protocol):
    """An output that is opened when the first frame is available.

    Attributes:
        name: name of the output in messages. `None` means that the frames are discarded.
        verb: word that the summary of a run uses for this output, for example "wrote".
    """

    @property
    def name(self) -> str | None: ...
    @property
    def verb(self) -> Verb: ...

    def opened(self, layout: VideoLayout) -> AbstractContextManager[LiveWriter]:
        """Open the output for frames of the given layout.

        Raises:
            StreamError: the output cannot be opened or written.
        """
        ...


@dataclass(frozen=True)
class NullOutput:
    """Output that discards all frames."""

    name = None
    verb: ClassVar[Verb] = "wrote"

    def opened(self, layout: VideoLayout) -> AbstractContextManager[LiveWriter]:
        """Return a writer that discards all frames."""
        return nullcontext(NoWriter())


@dataclass(frozen=True)
class Window:
    """A window on the screen of this machine.

    Attributes:
        controls: state that the user changes with keys in the window.
        name: name of the output in messages.
        verb: word that the summary of a run uses for this output, here "showed in".
    """

    controls: Controls
    name: ClassVar[str] = "a window"
    verb: ClassVar[Verb] = "showed in"

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Open the window."""
        with open_window(layout, self.controls) as writer:
            yield writer


@dataclass(frozen=True)
class VirtualCamera:
    """A virtual camera. Programs for video calls use it as a camera.

    Attributes:
        device: path of the device file of a v4l2loopback device. `None` selects the first virtual
            camera that is installed: OBS or Unity Capture on Windows, OBS on macOS, a v4l2loopback
            device on Linux.
        verb: word that the summary of a run uses for this output, here "wrote".
    """

    device: str | None
    verb: ClassVar[Verb] = "wrote"

    @property
    def name(self) -> str:
        """Path of the device file, or a description."""
        return self.device or "the virtual camera"

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Open the device for frames of the given layout."""
        with open_virtual_camera(self.device, layout) as writer:
            yield writer


@dataclass(frozen=True)
class RtspStream:
    """An RTSP stream that this process serves.

    Attributes:
        served: network address, and the user name and password of the clients.
        verb: word that the summary of a run uses for this output, here "wrote".
    """

    served: Served
    verb: ClassVar[Verb] = "wrote"

    @property
    def name(self) -> str:
        """URL with the address and port on which the server listens, without the password."""
        return f"rtsp://{self.served.host}:{self.served.port}/{self.served.path}"

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Start the server for frames of the given layout."""
        from mggr_edge.media.live.rtsp_server import open_rtsp_server

        with open_rtsp_server(self.served, layout) as writer:
            yield writer


def is_shown(text: str | None) -> bool:
    """Return whether an OUTPUT is a window, a virtual camera or an RTSP stream."""
    return output_scheme(text) in ("display", "virtual-camera", "v4l2loopback", "rtsp")


def is_window(text: str | None) -> bool:
    """Return whether an OUTPUT is a window, for example `display://0`.

    The number in the address does not matter.
    """
    return output_scheme(text) == "display"


def live_output(
    text: str | None,
    *,
    comment: str = REDIRECTED,
    force: bool = False,
    segment_s: float | None = None,
    retention: Retention = KEEP_ALL,
    controls: Controls | None = None,
) -> LiveOutput:
    """Parse the OUTPUT of a run with a live source.

    Args:
        text: OUTPUT as the user typed it. `None` means that the user specified no OUTPUT.
        comment: comment in the metadata of a recording.
        force: whether an existing file may be replaced.
        segment_s: maximum length of each file of a recording, in seconds. `None` means that the
            recording is a single file.
        retention: limits on the files of a segmented recording.
        controls: state that the user changes with keys in a window. `None` creates a new state.

    Raises:
        OutputExistsError: the file exists and `force` is false.
        UsageError: OUTPUT is missing or is not supported for a live source, or the folder of
            OUTPUT does not exist or is not writable. The error is also raised if `segment_s` is
            used and OUTPUT is not a video file.
    """
    suffixes = " ".join(VIDEO_OUTPUT_SUFFIXES)
    wanted = f"a video file ({suffixes}), {OUTPUT_FORMS}"
    if segment_s is not None and (text is None or output_address(text).scheme != "file"):
        got = "none" if text is None else redact_credentials(text)
        raise UsageError(
            f"--segment needs a video file as OUTPUT ({suffixes}), got {got}",
            code="segment-without-video-file",
            address=got,
        )
    if text is None:
        raise UsageError(
            f"a live source needs an OUTPUT: {wanted}",
            code="live-output-missing",
            expected=wanted,
        )
    address = output_address(text)
    match address.scheme:
        case "null":
            return NullOutput()
        case "display":
            return Window(controls or Controls())
        case "virtual-camera":
            return VirtualCamera(None)
        case "v4l2loopback":
            return VirtualCamera(address.place)
        case "rtsp":
            return RtspStream(served_at(address))
    path = Path(address.place)
    if names_a_folder(address.place) or path.suffix.lower() not in VIDEO_OUTPUT_SUFFIXES:
        shown, closest = redact_credentials(text), closest_output(text)
        raise UsageError(
            f"{shown} is not a valid OUTPUT for a live source{closest_form(closest)}; "
            f"expected {wanted}",
            code="live-output-not-valid",
            address=shown,
            closest=None if closest is None else redact_credentials(closest),
            expected=wanted,
        )
    # The folder is checked now, because the source may become available only hours later.
    check_place(path)
    if segment_s is not None:
        return Segments(path, segment_s, comment, force, retention=retention)
    if os.path.lexists(path) and not force:
        raise OutputExistsError(path)
    return Recording(path, comment, force)


TITLE = "mggr-edge"

_WIDEST_PX = 1280
"""Maximum initial width of the window in pixels. The user can resize the window."""

_KEY_MS = 1
_NO_KEY = -1
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


class _Window:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        cv2.imshow(TITLE, np.ascontiguousarray(rgb[..., ::-1]))
        key = cv2.waitKey(_KEY_MS)
        if key != _NO_KEY:
            self._controls.press(chr(key & 0xFF))
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self._controls.stop.set()  # the user closed the window with the mouse


@contextmanager
def open_window(layout: VideoLayout, controls: Controls) -> Iterator[_Window]:
    """Open a window. Call this function only from the main thread.

    Args:
        layout: layout with the size of the frames.
        controls: state that the user changes with keys. If the user closes the window, the event
            `controls.stop` is set.

    Raises:
        MissingPackageError: the installed OpenCV has no window support.
        StreamError: no screen is available, or the window cannot be opened.
    """
    if not has_windows():
        raise MissingPackageError(
            "a version of OpenCV that can open windows (opencv-python)", "display"
        )
    # The screen is checked before OpenCV is called. Without a screen, the GUI toolkit of OpenCV
    # terminates the process.
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _SCREENS):
        raise StreamError(
            f"no screen is available: {' and '.join(_SCREENS)} are not set; pass --headless to run "
            "without a window",
            code="no-screen",
        )
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        height, width = layout.size
        scale = min(1.0, _WIDEST_PX / width)
        cv2.resizeWindow(TITLE, round(scale * width), round(scale * height))
    except cv2.error as error:
        reason = " ".join(str(error).split())
        raise StreamError(
            f"the window cannot be opened: {reason}", code="window-open-failed", reason=reason
        ) from error
    try:
        yield _Window(controls)
    finally:
        cv2.destroyAllWindows()


def has_windows() -> bool:
    """Return whether the installed OpenCV supports windows.

    The package opencv-python-headless does not support windows.
    """
    gui = [line for line in cv2.getBuildInformation().splitlines() if line.strip()[:4] == "GUI:"]
    return bool(gui) and "NONE" not in gui[0]


class _Writer:
    def __init__(self, camera: Any) -> None:
        self._camera = camera

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        # `sleep_until_next_frame` of pyvirtualcam is not called, because the source sets the frame
        # rate.
        self._camera.send(np.ascontiguousarray(rgb))


@contextmanager
def open_virtual_camera(device: str | None, layout: VideoLayout) -> Iterator[_Writer]:
    """Open a virtual camera.

    This function was not tested with a real virtual camera.

    Args:
        device: path of the device file, for example /dev/video10. `None` selects the first virtual
            camera.
        layout: layout with the size and nominal rate of the frames.

    Raises:
        MissingPackageError: pyvirtualcam is not installed.
        StreamError: the device does not exist or does not accept frames of this size.
    """
    try:
        import pyvirtualcam
    except ModuleNotFoundError as error:
        raise MissingPackageError("pyvirtualcam", "virtual-camera") from error
    height, width = layout.size
    try:
        camera = pyvirtualcam.Camera(
            width=width, height=height, fps=float(layout.rate), device=device
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        fix = _virtual_camera_fix(device)
        raise StreamError(
            f"{device or 'a virtual camera'} cannot be opened ({reason}); {fix}",
            code="virtual-camera-open-failed",
            device=device,
            reason=reason,
            fix=fix,
        ) from error
    with camera:
        yield _Writer(camera)


def _virtual_camera_fix(device: str | None) -> str:
    """Return how to create a virtual camera on this operating system."""
    if sys.platform in ("win32", "darwin"):
        return "install OBS Studio, and start and stop its virtual camera once"
    number = (device or "/dev/video10").removeprefix("/dev/video")
    return f"create it with: modprobe v4l2loopback video_nr={number} exclusive_caps=1"
