"""Live outputs by address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.address_hints import closest_output
from mggr_edge.common.addresses import (
    OUTPUT_FORMS,
    closest_form,
    names_a_folder,
    output_address,
    output_scheme,
    served_at,
    without_secrets,
)
from mggr_edge.common.atomic import atomic_file, check_place
from mggr_edge.errors import OutputExistsError, StreamError, UsageError
from mggr_edge.media.files.paths import VIDEO_OUTPUT_SUFFIXES
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout, open_video
from mggr_edge.media.files.video_writer import REDIRECTED, NoWriter, open_writer
from mggr_edge.media.files.written import cut_to_whole_fragments
from mggr_edge.media.live.v4l2 import Controls

Verb = Literal["wrote", "showed in"]


class LiveWriter(Protocol):
    """Takes frames of one size."""

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        """Takes a frame [H, W, 3] uint8 RGB, made of the one that was read."""
        ...


class RecordingWriter(LiveWriter, Protocol):
    """Takes frames of a file."""

    def end_at(self, pts: int) -> None:
        """Sets the time until which the last frame is shown, in ticks."""
        ...


class LiveOutput(Protocol):
    """An output that is opened when the first frame is there.

    Attributes:
        name: for people; None for nowhere.
        verb: what is done with it.
    """

    @property
    def name(self) -> str | None: ...
    @property
    def verb(self) -> Verb: ...

    def opened(self, layout: VideoLayout) -> AbstractContextManager[LiveWriter]:
        """Opens it for frames of that layout.

        Raises:
            StreamError: it cannot be opened or written.
        """
        ...


@dataclass(frozen=True)
class Nowhere:
    """Keeps nothing."""

    name = None
    verb: ClassVar[Verb] = "wrote"

    def opened(self, layout: VideoLayout) -> AbstractContextManager[LiveWriter]:
        """Takes everything."""
        return nullcontext(NoWriter())


@dataclass(frozen=True)
class Recording:
    """A video file, which appears when the source has ended, or the disk is full.

    Attributes:
        path: of the file.
        comment: what its metadata say of it.
        force: a file that exists may be replaced.
    """

    path: Path
    comment: str = REDIRECTED
    verb: ClassVar[Verb] = "wrote"
    force: bool = False

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Begins a file."""
        moved: list[Path] = []
        with recorded(
            self.path, layout, comment=self.comment, force=self.force, moved=moved
        ) as writer:
            yield writer
        if moved:
            raise StreamError(f"{self.path} came into being meanwhile; the recording is {moved[0]}")


@contextmanager
def recorded(
    path: Path, layout: VideoLayout, *, comment: str, force: bool, moved: list[Path]
) -> Iterator[RecordingWriter]:
    """Records one file; what was recorded before an error is kept.

    Args:
        path: of the file.
        layout: of the frames.
        comment: what its metadata say of it.
        force: a file that exists may be replaced.
        moved: receives the file's other name, if a file of that name appears meanwhile.

    Raises:
        StreamError: the file cannot be written.
    """
    failure = None
    with atomic_file(path, force=force, elsewhere=moved.append) as temporary:
        try:
            with open_writer(temporary, layout, path=path, comment=comment) as writer:
                yield writer
        except StreamError as error:
            if not _is_worth_keeping(temporary):
                raise
            failure = error
    if failure is not None:
        raise StreamError(f"{failure}; what was recorded until then is kept in it") from failure


def _is_worth_keeping(temporary: Path) -> bool:
    """Whether pictures are in a recording that broke off; they play to its end then."""
    if not temporary.exists():
        return False
    if temporary.suffix.lower() == ".mkv":
        return _holds_a_picture(temporary)
    return cut_to_whole_fragments(temporary)


def _holds_a_picture(path: Path) -> bool:
    try:
        with open_video(path):
            return True
    except StreamError:
        return False


@dataclass(frozen=True)
class Window:
    """A window on this machine's screen.

    Attributes:
        controls: what its keys change.
    """

    controls: Controls
    name: ClassVar[str] = "a window"
    verb: ClassVar[Verb] = "showed in"

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Opens it."""
        from mggr_edge.media.live.displays import open_window

        with open_window(layout, self.controls) as writer:
            yield writer


@dataclass(frozen=True)
class VirtualCamera:
    """A v4l2loopback device, which programs for video calls take for a camera.

    Attributes:
        device: its file.
    """

    device: str
    verb: ClassVar[Verb] = "wrote"

    @property
    def name(self) -> str:
        """The device."""
        return self.device

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Begins to show frames."""
        from mggr_edge.media.live.displays import open_virtual_camera

        with open_virtual_camera(self.device, layout) as writer:
            yield writer


@dataclass(frozen=True)
class RtspStream:
    """An RTSP stream that this process serves.

    Attributes:
        host: the address that is listened on.
        port: the port.
        path: the stream's name.
    """

    host: str
    port: int
    path: str
    verb: ClassVar[Verb] = "wrote"

    @property
    def name(self) -> str:
        """The address that is listened on."""
        return f"rtsp://{self.host}:{self.port}/{self.path}"

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Begins to serve."""
        from mggr_edge.media.live.rtsp_server import open_rtsp_server

        with open_rtsp_server(self.host, self.port, self.path, layout) as writer:
            yield writer


def is_shown(text: str | None) -> bool:
    """Whether an OUTPUT is seen as it is made: a window, a virtual camera or a stream."""
    return output_scheme(text) in ("display", "v4l2loopback", "rtsp")


def is_window(text: str | None) -> bool:
    """Whether an OUTPUT is a window: `display://0`; there is one, whatever its number."""
    return output_scheme(text) == "display"


def live_output(
    text: str | None,
    *,
    comment: str = REDIRECTED,
    force: bool = False,
    segment_s: float | None = None,
    controls: Controls | None = None,
) -> LiveOutput:
    """Reads the OUTPUT of a live source.

    Args:
        text: as it was typed.
        comment: what a file's metadata say of it.
        force: a file that exists may be replaced.
        segment_s: seconds after which a recording goes on in another file; None for one file.
        controls: what a window's keys change.

    Raises:
        OutputExistsError: the named file exists and `force` is false.
        UsageError: nothing is named, or nothing that live frames can go to, or a file in a folder
            that does not exist or is not writable.
    """
    suffixes = " ".join(VIDEO_OUTPUT_SUFFIXES)
    wanted = f"a video file ({suffixes}), {OUTPUT_FORMS}"
    if segment_s is not None and (text is None or output_address(text).scheme != "file"):
        got = "none" if text is None else without_secrets(text)
        raise UsageError(f"--segment needs a video file as OUTPUT ({suffixes}), got {got}")
    if text is None:
        raise UsageError(f"a live source needs an OUTPUT: {wanted}")
    address = output_address(text)
    match address.scheme:
        case "null":
            return Nowhere()
        case "display":
            return Window(controls or Controls())
        case "v4l2loopback":
            return VirtualCamera(address.place)
        case "rtsp":
            served = served_at(address)
            return RtspStream(served.host, served.port, served.path)
    path = Path(address.place)
    if names_a_folder(address.place) or path.suffix.lower() not in VIDEO_OUTPUT_SUFFIXES:
        raise UsageError(
            f"{without_secrets(text)} is no OUTPUT of a live source"
            f"{closest_form(closest_output(text))}; expected {wanted}"
        )
    check_place(path)  # the source may come hours later
    if segment_s is not None:
        from mggr_edge.media.live.segments import Segments

        return Segments(path, segment_s, comment, force)
    if os.path.lexists(path) and not force:
        raise OutputExistsError(path)
    return Recording(path, comment, force)
