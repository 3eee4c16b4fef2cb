"""Write the audio tracks of an output video.

A track is copied if the container supports its codec. Otherwise, the track is encoded as AAC.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any, Protocol

from mggr_edge.media.files.kept import track_metadata
from mggr_edge.media.files.pyav import import_pyav
from mggr_edge.media.files.written import Expected

_BITS_PER_CHANNEL = 96_000
"""AAC bit rate per channel, in bits per second.

At this rate, the output of FFmpeg's AAC encoder sounds almost the same as the source."""

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Channel layout for each number of channels.

The table is used for sources that state only the number of channels."""

_DAMAGED = "damaged audio packets dropped"
_TITLES = {"mp4": "MP4", "mov": "QuickTime", "matroska": "Matroska"}
"""Name of the container in messages, for each muxer. The keys are FFmpeg's names of the muxers."""


class _Track(Protocol):
    """Converts the packets of one audio track for the output."""

    def packets(self, packet: Any) -> Iterable[Any]:
        """Return the packets that are written for one packet of the source."""
        ...

    def finish(self) -> Iterable[Any]:
        """Return the packets that are still buffered in an encoder."""
        ...


class AudioTracks:
    """Writer for all audio tracks of an output.

    A track is copied if the container supports its codec. Otherwise, the track is encoded as AAC.
    A track that the installed FFmpeg cannot decode is dropped. `notes` lists all changes.

    Attributes:
        streams: dictionary from the index of an audio track in the source to the output stream.

    Args:
        container: PyAV output container. Its header must not be written yet.
        sources: PyAV audio streams of the input.
        options: options of the muxer.
        expected: summary of the written packets. Each written audio packet is added to the summary.
    """

    def __init__(
        self,
        container: Any,
        sources: Iterable[Any],
        options: dict[str, str],
        *,
        expected: Expected,
    ) -> None:
        self._container, self._expected = container, expected
        self._tracks: dict[int, _Track] = {}
        self._counts: Counter[str] = Counter()
        self._changes: list[str] = []
        self.streams: dict[int, Any] = {}
        for number, source in enumerate(sources, 1):
            self._add(source, f"audio track {number} ({_name(source)})", options)

    @property
    def notes(self) -> tuple[str, ...]:
        """Descriptions of the changed and dropped tracks and packets.

        The descriptions are complete after `finish`.
        """
        counts = [f"{what}: {number}" for what, number in sorted(self._counts.items())]
        return (*self._changes, *counts)

    def write(self, packet: Any) -> None:
        """Write one encoded packet of the source."""
        track = self._tracks.get(packet.stream.index)
        if track is not None:
            self._mux(track.packets(packet))

    def finish(self) -> None:
        """Write the packets that are still buffered in the encoders."""
        for track in self._tracks.values():
            self._mux(track.finish())

    def _add(self, source: Any, name: str, options: dict[str, str]) -> None:
        if source.codec_context is None or not source.rate or not source.channels:
            self._changes.append(f"{name} was dropped, because FFmpeg cannot decode it")
            return
        muxer = self._container.format.name
        if _takes(muxer, source, options):
            stream = self._container.add_stream_from_template(source)
            self._tracks[source.index] = _Copied(source, stream, self._counts)
        else:
            stream = _add_aac(self._container, source)
            self._tracks[source.index] = _Encoded(source, stream, self._counts)
            self._changes.append(
                f"{name} was encoded as AAC, because it cannot be copied to {_TITLES[muxer]}"
            )
        stream.metadata.update(track_metadata(source.metadata))
        stream.disposition = source.disposition.value
        self.streams[source.index] = stream

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._expected.note(packet, packet.stream)
            self._container.mux(packet)


class _Copied:
    """Copies the packets of a track.

    Containers require that each packet has a later time than the packet before. Therefore, this
    class changes times where necessary.
    """

    def __init__(self, source: Any, stream: Any, counts: Counter[str]) -> None:
        self._stream, self._counts = stream, counts
        self._last_dts: int | None = None
        self._filter: Any = None
        # MPEG-TS repeats the AAC parameters before each packet (ADTS header). Other containers
        # store these parameters once, as `extradata`.
        if source.codec_context.name == "aac" and not source.codec_context.extradata:
            filter_context = import_pyav().bitstream.BitStreamFilterContext
            self._filter = filter_context("aac_adtstoasc", source)

    def packets(self, packet: Any) -> Iterator[Any]:
        """Yield the converted packet.

        If a packet is damaged, or if it ends before the time of the last packet, it is dropped.
        """
        base, duration = packet.time_base, packet.duration
        try:
            filtered = [packet] if self._filter is None else self._filter.filter(packet)
        except import_pyav().InvalidDataError:
            self._counts[_DAMAGED] += 1
            return
        for one in filtered:
            one.stream = self._stream
            one.time_base = base
            if self._rises(one, duration):
                yield one

    def finish(self) -> Iterator[Any]:
        """Return an empty iterator, because this class does not buffer packets."""
        return iter(())

    def _rises(self, packet: Any, duration: int | None) -> bool:
        """Convert the times of a packet to ticks of the output.

        If the packet does not begin after the last packet, the time of the packet is increased.

        Returns:
            `True` if the packet must be written. `False` if the packet must be dropped, because it
            ends before or at the time of the last packet.
        """
        tick = self._stream.time_base / packet.time_base
        length = round((duration or 0) / tick)
        first = packet.dts if packet.dts is not None else packet.pts
        last = self._last_dts
        if first is None:
            dts = 0 if last is None else last + max(length, 1)
        else:
            dts = round(first / tick)
        if last is not None and dts <= last:
            if dts + length <= last:
                self._counts[
                    "audio packets dropped, because they end before the previous packet"
                ] += 1
                return False
            self._counts["audio packets moved to a later time, because times must increase"] += 1
            dts = last + 1
        packet.time_base, packet.pts, packet.dts = self._stream.time_base, dts, dts
        packet.duration = length
        self._last_dts = dts
        return True


class _Encoded:
    """Decodes a track and encodes it as AAC.

    Gaps are filled with silence, so that the sound after a gap keeps its time.
    """

    def __init__(self, source: Any, stream: Any, counts: Counter[str]) -> None:
        self._source, self._stream, self._counts = source, stream, counts
        self._resampler: _Resampler | None = None

    def packets(self, packet: Any) -> Iterator[Any]:
        """Yield the AAC packets that are ready.

        The encoder buffers audio, so AAC packets are delayed.
        """
        try:
            frames = packet.decode()
        except import_pyav().InvalidDataError:
            self._counts[_DAMAGED] += 1
            return
        for frame in frames:
            yield from self._encoded(frame)

    def finish(self) -> Iterator[Any]:
        """Yield the packets that are still buffered in the decoder, resampler and encoder."""
        for frame in self._source.codec_context.decode(None):
            yield from self._encoded(frame)
        if self._resampler is not None:
            yield from self._drained(self._resampler)
        yield from self._stream.encode(None)

    def _encoded(self, frame: Any) -> Iterator[Any]:
        if self._resampler is None or not self._resampler.fits(frame):
            if self._resampler is not None:
                yield from self._drained(self._resampler)
            self._resampler = _Resampler(frame, self._stream.codec_context)
        for resampled in self._resampler.resampled(frame):
            yield from self._stream.encode(resampled)

    def _drained(self, resampler: _Resampler) -> Iterator[Any]:
        for resampled in resampler.resampled(None):
            yield from self._stream.encode(resampled)


class _Resampler:
    """Resampler of FFmpeg. All input frames must have the format of the first frame.

    Gaps are filled with silence.

    Args:
        first: first audio frame. This frame determines the input format.
        encoder: codec context of the encoder. This context determines the output format.
    """

    def __init__(self, first: Any, encoder: Any) -> None:
        self._form = _form(first)
        self._graph = graph = import_pyav().filter.Graph()
        source = graph.add_abuffer(
            format=first.format.name,
            sample_rate=first.sample_rate,
            layout=first.layout.name,
            time_base=first.time_base or Fraction(1, first.sample_rate),
        )
        nodes = (
            source,
            graph.add("aresample", f"{encoder.sample_rate}:async=1"),
            graph.add(
                "aformat",
                f"sample_fmts={encoder.format.name}:channel_layouts={encoder.layout.name}",
            ),
            graph.add("asetnsamples", f"n={encoder.frame_size or 1024}:p=0"),
            graph.add("abuffersink"),
        )
        graph.link_nodes(*nodes).configure()

    def fits(self, frame: Any) -> bool:
        """Return whether the frame has the format of the first frame."""
        return _form(frame) == self._form

    def resampled(self, frame: Any) -> Iterator[Any]:
        """Yield frames in the format of the encoder.

        Args:
            frame: next audio frame. `None` marks the end, so the resampler returns all remaining
                audio.
        """
        av = import_pyav()
        self._graph.push(frame)
        with suppress(av.BlockingIOError, av.EOFError):  # no further output is available yet
            while True:
                yield self._graph.pull()


def _form(frame: Any) -> tuple[str, int, str]:
    return frame.format.name, frame.sample_rate, frame.layout.name


def _takes(muxer: str, source: Any, options: dict[str, str]) -> bool:
    """Return whether a container supports the codec of the track.

    To test this, the function writes a file header to memory.
    """
    if muxer == "mp4" and source.codec_context.name.startswith("pcm_"):
        # FFmpeg writes PCM in a form that was standardized in 2020. Few players support this form.
        return False
    av = import_pyav()
    trial = av.open(io.BytesIO(), "w", format=muxer, options=options)
    try:
        trial.add_stream_from_template(source)
        trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    finally:
        # An error while the test file is closed does not matter.
        with suppress(ValueError, av.FFmpegError):
            trial.close()
    return True


def _add_aac(container: Any, source: Any) -> Any:
    rates = import_pyav().codec.Codec("aac", "w").audio_rates
    rate = min((r for r in rates if r >= source.rate), default=max(rates))
    layout = source.layout.name
    if layout.endswith("channels"):
        layout = _LAYOUTS.get(source.channels, "stereo")
    bit_rate = _BITS_PER_CHANNEL * source.channels
    return container.add_stream("aac", rate=rate, layout=layout, bit_rate=bit_rate)


def _name(source: Any) -> str:
    if source.codec_context is None:
        return "unknown codec"
    return str(source.codec_context.name)
