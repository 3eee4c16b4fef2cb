"""Process the frames of a live source until the source ends or the run is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import stopped_by_signals
from mggr_edge.common.timing import Stages, no_stages
from mggr_edge.errors import StreamError
from mggr_edge.media.files.colour import colour_of_rgb
from mggr_edge.media.files.pyav import fitted
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.live.address import ANY_FORMAT, CameraFormat, Flip, LiveAddress, flipped
from mggr_edge.media.live.latest_frame import LatestFrameReader, LiveFrame
from mggr_edge.media.live.recordings import LiveWriter, Segments, SegmentWriter
from mggr_edge.media.live.sinks import LiveOutput
from mggr_edge.media.live.sources import Capture, OpenedByReader, Reconnecting, open_capture
from mggr_edge.pipeline.results import FrameProcess
from mggr_edge.runs.service.load_shedding import FrameSkipper
from mggr_edge.runs.service.metrics import LiveCounts
from mggr_edge.runs.service.supervisor import Heartbeat, Notifier, Systemd
from mggr_edge.runs.summary import RunSummary, Tally

_TICKS_PER_S = 90_000
_NOMINAL_RATE = Fraction(30)
"""Frame rate to pass to the encoder, which requires a rate. The frames are written with their own
times."""


def run_live(
    address: LiveAddress,
    output: LiveOutput,
    *,
    process: FrameProcess,
    camera_format: CameraFormat = ANY_FORMAT,
    columns: int = 1,
    stages: Stages = no_stages,
    stop: threading.Event | None = None,
    reconnect: bool = False,
    workload: FrameSkipper | None = None,
    counts: LiveCounts | None = None,
    notifier: Notifier | None = None,
    notify: Callable[[str], None] = lambda text: None,
) -> RunSummary:
    """Redirect the frames of a camera or a stream.

    The run ends when the source ends or is lost, or when SIGINT or SIGTERM arrives. In each case,
    the file contains all frames until the end of the run and is complete. A full disk is the only
    exception.

    Args:
        address: address of the source.
        output: destination of the frames.
        process: function that processes each frame.
        camera_format: frame size and frame rate to request from a camera, and its orientation.
        columns: width of the frames that `process` returns, divided by the width of the input.
        stages: function that measures the time for waiting and writing.
        stop: event that ends the run. Any thread may set it.
        reconnect: if True, wait for a source that is lost or not yet available. In this case, the
            run continues until it is stopped.
        workload: object that skips frames if the machine is hot or overloaded; `None` processes
            every frame.
        counts: counts that are updated during the run.
        notifier: receiver of the state of the run. `None` notifies systemd.
        notify: function that receives messages about the source.

    Returns:
        The summary of the run. If the source was lost, the field `lost` contains the reason.

    Raises:
        StreamError: the source cannot be opened or delivers no frame, or the output cannot be
            written.
    """
    stop = stop or threading.Event()
    heartbeat, systemd = Heartbeat(), notifier or Systemd()

    def say_and_note(text: str) -> None:
        notify(text)
        systemd.status(text)

    open_ = partial(open_capture, address, camera_format, notify=say_and_note)
    with stopped_by_signals(stop):
        capture = (
            Reconnecting(
                open_, name=str(address), stop=stop, notify=say_and_note, beat=heartbeat.beat
            )
            if reconnect
            else OpenedByReader(open_, opened=systemd.ready)
        )
        if reconnect:
            systemd.ready()  # do not wait for the source, which may be missing
        session = _Session(
            address,
            capture,
            process=process,
            flip=camera_format.flip,
            stages=stages,
            stop=stop,
            heartbeat=heartbeat,
            systemd=systemd,
            workload=workload,
            counts=counts or LiveCounts(),
        )
        return session.run(output, columns=columns)


class _Session:
    def __init__(
        self,
        address: LiveAddress,
        capture: Capture,
        *,
        process: FrameProcess,
        flip: Flip,
        stages: Stages,
        stop: threading.Event,
        heartbeat: Heartbeat,
        systemd: Notifier,
        workload: FrameSkipper | None,
        counts: LiveCounts,
    ) -> None:
        self._address, self._capture, self._process = address, capture, process
        self._flip, self._stages, self._stop = flip, stages, stop
        self._heartbeat, self._systemd, self._workload = heartbeat, systemd, workload
        self._counts, self._tally = counts, Tally()
        self._lost: StreamError | None = None
        self._idle: Callable[[], None] | None = None

    def run(self, output: LiveOutput, *, columns: int) -> RunSummary:
        """Process frames until the source ends or the run is stopped."""
        reading = LatestFrameReader(
            self._capture,
            stop=self._stop,
            beat=self._heartbeat.beat,
            meanwhile=lambda: self._wait(reading),
        )
        with reading as newest:
            frames = self._frames(newest)
            first = next(frames, None)
            if first is None and self._stop.is_set():
                return self._tally.summary(
                    "stream", None, notes=("stopped before the first frame",)
                )
            if first is None:
                raise self._lost or StreamError(
                    f"{self._address} ended before its first frame",
                    code="source-without-frames",
                    address=str(self._address),
                )
            failure = None
            layout = layout_of_live(first.rgb).widened(columns)
            with output.opened(layout) as writer:
                self._idle = writer.idle if isinstance(writer, SegmentWriter) else None
                try:
                    self._pass_all(first, frames, writer, layout.size)
                except Exception as error:  # noqa: BLE001 - raised when the output is complete
                    failure = error
                self._systemd.stopping()
            if failure is not None:
                raise failure
        self._count(newest)
        return self._tally.summary(
            "stream",
            output.name,
            verb=output.verb,
            dropped=self._counts.dropped + self._counts.left_out,
            reconnected=self._counts.reconnected,
            lost=None if self._lost is None else str(self._lost),
            segments=tuple(output.files) if isinstance(output, Segments) else (),
        )

    def _wait(self, newest: LatestFrameReader) -> None:
        """Notify the watchdog and the writer; called repeatedly while no frame arrives."""
        self._alive(newest)
        if self._idle is not None:
            self._idle()

    def _count(self, newest: LatestFrameReader) -> None:
        self._counts.dropped = newest.dropped
        if self._workload is not None:
            self._counts.left_out = self._workload.left_out
        if isinstance(self._capture, Reconnecting):
            self._counts.reconnected = self._capture.reconnected

    def _alive(self, newest: LatestFrameReader) -> None:
        """Update the counts; if the reader thread does not hang, notify the watchdog."""
        self._count(newest)
        if not self._heartbeat.is_stuck:
            self._systemd.alive()

    def _frames(self, newest: LatestFrameReader) -> Iterator[LiveFrame]:
        """Yield the frames to process. If the source is lost, set `_lost` and end."""
        frames = iter(newest)
        while True:
            try:
                with self._stages("wait"):
                    frame = next(frames, None)
            except StreamError as error:
                self._lost = error
                return
            if frame is None:
                return
            self._alive(newest)
            if self._workload is not None and not self._workload.takes(frame.number):
                continue
            yield replace(frame, rgb=flipped(frame.rgb, self._flip))

    def _pass_all(
        self,
        first: LiveFrame,
        frames: Iterator[LiveFrame],
        writer: LiveWriter,
        size: tuple[int, int],
    ) -> None:
        frame: LiveFrame | None = first
        while frame is not None:
            with nullcontext() if self._workload is None else self._workload.work():
                self._pass(frame, writer, size, is_refitted=frame.rgb.shape != first.rgb.shape)
            frame = next(frames, None)

    def _pass(
        self, frame: LiveFrame, writer: LiveWriter, size: tuple[int, int], *, is_refitted: bool
    ) -> None:
        result = self._process(frame.rgb, time_s=frame.time_s)
        shown = result.frame
        if is_refitted:
            shown = fitted(shown, size)
            self._tally.refitted += 1
        with self._stages("write"):
            writer.write(shown, timed(frame.rgb, frame.time_s))
        self._counts.note_written(arrived_s=frame.arrived_s)
        self._tally.add(frame.rgb, result)


def timed(rgb: NDArray[np.uint8], time_s: float) -> TimedFrame:
    """Return a frame of a live source with its time in ticks."""
    return TimedFrame(rgb, round(time_s * _TICKS_PER_S), None, time_s)


def layout_of_live(rgb: NDArray[np.uint8]) -> VideoLayout:
    """Return the layout for frames of a live source that have the size of this frame."""
    height, width = rgb.shape[:2]
    return VideoLayout(
        size=(height, width),
        time_base=Fraction(1, _TICKS_PER_S),
        rate=_NOMINAL_RATE,
        pixel_aspect=None,
        colour=colour_of_rgb(height),
        audio=(),
        metadata={},
        left_out=(),
        frames=None,
    )
