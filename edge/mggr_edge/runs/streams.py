"""Sources and sinks for host programs: video files, cameras, network streams and live outputs.

Example::

    with (
        Bundle.open("default") as bundle,
        open_source("call.mp4") as source,
        open_sink("contact.mp4", source=source) as sink,
    ):
        redirector = Redirector(bundle)
        for frame in source:
            sink.write(redirector.redirect_frame(frame.rgb, frame.time_s), frame)

`FrameSink.write` takes the whole result, because HDR videos need more than its RGB frame. No
function of this module handles signals, writes to the terminal or ends the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.addresses import output_address
from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import UsageError
from mggr_edge.media.files.paths import find_source
from mggr_edge.media.files.pyav import fitted
from mggr_edge.media.files.ten_bit import TenBitPicture
from mggr_edge.media.files.video_reader import (
    AudioPacket,
    TimedFrame,
    Video,
    VideoLayout,
    open_video,
)
from mggr_edge.media.files.video_writer import VideoWriter, open_writer
from mggr_edge.media.live.address import (
    ANY_FORMAT,
    CameraFormat,
    LiveAddress,
    flipped,
    live_address,
)
from mggr_edge.media.live.latest_frame import LatestFrameReader
from mggr_edge.media.live.recordings import LiveWriter
from mggr_edge.media.live.sinks import live_output
from mggr_edge.media.live.sources import OpenedByReader, open_capture
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.live_run import layout_of_live, timed
from mggr_edge.runs.original_values import shown_original


@dataclass(frozen=True)
class SourceFrame:
    """A frame of a source.

    Attributes:
        rgb: upright pixels, [H, W, 3] uint8. HDR and 10-bit videos are converted to SDR.
        time_s: time since the first frame of the source, in seconds.
        timed: frame with its time in the file and, for HDR and 10-bit videos, its stored values.
    """

    rgb: NDArray[np.uint8]
    time_s: float
    timed: TimedFrame


class FrameSource:
    """Iterator over the frames of a source; see `open_source`.

    Attributes:
        layout: size, rate and metadata of a video file. `None` for cameras and network streams.
        on_audio: function that receives the audio packets of a video file. `open_sink` sets it.
    """

    def __init__(self, frames: Iterator[SourceFrame], layout: VideoLayout | None) -> None:
        self.layout = layout
        self.on_audio: Callable[[AudioPacket], None] = lambda packet: None
        self._frames = frames

    def __iter__(self) -> Iterator[SourceFrame]:
        return self

    def __next__(self) -> SourceFrame:
        return next(self._frames)


@contextmanager
def open_source(
    source: str | Path, *, camera_format: CameraFormat = ANY_FORMAT
) -> Iterator[FrameSource]:
    """Open a video file, a camera or a network stream.

    All frames of a video file are returned, as fast as the caller processes them. A camera or a
    stream is read in a thread, and only its newest frame is kept. Read pictures with another
    library, and pass them to `Redirector.redirect_image`.

    Args:
        source: path of a video file, or an INPUT of `mggr-edge run`, for example `camera://0` or
            `rtsp://HOST/NAME`.
        camera_format: requested size and rate of a camera, and the rotation of its frames.

    Raises:
        UsageError: the source is a picture or a folder, or its address is not valid.
        StreamError: the source cannot be opened. Iteration raises it if the source is lost.
        MissingPackageError: a package that is needed to read the source is not installed.
    """
    address = live_address(source) if isinstance(source, str) else None
    if address is not None:
        with _live(address, camera_format) as frames:
            yield FrameSource(frames, None)
        return
    found = find_source(source)
    if found.kind != "video":
        raise UsageError(
            f"{source} is a {found.kind}, expected a video file, a camera or a stream; pass the "
            "pixels of a picture to Redirector.redirect_image",
            code="source-not-a-stream",
            path=source,
            found=found.kind,
        )
    with open_video(found.path) as video:
        opened = FrameSource(iter(()), video.layout)
        opened._frames = _frames_of(video, lambda packet: opened.on_audio(packet))
        yield opened


def _frames_of(video: Video, on_audio: Callable[[AudioPacket], None]) -> Iterator[SourceFrame]:
    begins_s: float | None = None
    for item in video.items:
        if isinstance(item, AudioPacket):
            on_audio(item)
            continue
        begins_s = item.time_s if begins_s is None else begins_s
        yield SourceFrame(item.rgb, item.time_s - begins_s, item)


@contextmanager
def _live(address: LiveAddress, wanted: CameraFormat) -> Iterator[Iterator[SourceFrame]]:
    capture = OpenedByReader(lambda: open_capture(address, wanted), opened=lambda: None)
    with LatestFrameReader(capture, stop=threading.Event()) as newest:
        frames = ((flipped(one.rgb, wanted.flip), one.time_s) for one in newest)
        yield (SourceFrame(rgb, time_s, timed(rgb, time_s)) for rgb, time_s in frames)


class FrameSink:
    """Output for redirected frames; see `open_sink`."""

    def __init__(self, opened: Callable[[VideoLayout], LiveWriter | VideoWriter]) -> None:
        self._opened = opened
        self._writer: LiveWriter | VideoWriter | None = None
        self._layout: VideoLayout | None = None

    def write(self, result: FrameResult, frame: SourceFrame) -> None:
        """Write a redirected frame.

        If its size differs from that of the first frame, the frame is scaled and padded.

        Args:
            result: result of the frame. Its frame is RGB.
            frame: frame of the source. The written frame gets its time.

        Raises:
            StreamError: the output cannot be written.
            ValueError: the result is not RGB.
        """
        if result.color != "rgb":
            raise ValueError(f"a sink accepts RGB frames, got {result.color}")
        if self._writer is None or self._layout is None:
            self._layout = layout_of_live(result.frame)
            self._writer = self._opened(self._layout)
        shown: NDArray[np.uint8] | TenBitPicture = result.frame
        size = self._layout.size
        if isinstance(self._writer, VideoWriter) and frame.timed.original is not None:
            code_map = self._layout.colour.code_map
            shown = shown_original(frame.timed.original, frame.rgb, result, code_map)
            shown = shown if frame.rgb.shape[:2] == size else shown.fitted(size)
        elif result.frame.shape[:2] != size:
            shown = fitted(result.frame, size)
        self._writer.write(shown, frame.timed)  # type: ignore[arg-type]


@contextmanager
def open_sink(
    output: str | Path, *, source: FrameSource | None = None, force: bool = False
) -> Iterator[FrameSink]:
    """Open an output for redirected frames.

    If the source is a video file and the output is a file, the sound, the metadata and the colour
    properties of the source are kept. A file gets its name when it is complete. If the block raises
    an exception, no file is written.

    Args:
        output: path of a video file, or an OUTPUT of `mggr-edge run`, for example `display://0`,
            `virtual-camera://` or `rtsp://@:8554/NAME`.
        source: source of the frames.
        force: whether an existing file may be replaced.

    Raises:
        OutputExistsError: the file exists and `force` is false.
        UsageError: the output is not valid.
        StreamError: the output cannot be opened or written.
    """
    text = str(output)
    with ExitStack() as stack:
        layout = None if source is None else source.layout
        if layout is not None and output_address(text).scheme == "file":
            path = Path(output_address(text).place)
            temporary = stack.enter_context(atomic_file(path, force=force))
            writer = stack.enter_context(open_writer(temporary, layout, path=path))
            assert source is not None
            source.on_audio = writer.pass_audio
            sink = FrameSink(lambda layout: writer)
            sink._writer, sink._layout = writer, layout
        else:
            opened = live_output(text, force=force)
            sink = FrameSink(lambda layout: stack.enter_context(opened.opened(layout)))
        yield sink
