"""Small videos with audio tracks of any codec, written by PyAV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 25


def moving_bars(index: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """[height, width, 3] uint8 with bars that move to the right."""
    columns = np.arange(width)
    row = np.stack([(columns * 3 + 8 * index) % 256, 255 - columns, columns + 40], axis=1)
    return np.repeat(row[None], height, axis=0).astype(np.uint8)


def write_video(
    path: Path,
    *,
    frames: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    audio: tuple[str, ...] = (),
    audio_rate: int = 48_000,
    container_format: str | None = None,
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    picture: Callable[[int], NDArray[np.uint8]] = moving_bars,
    prepare: Callable[[Any], None] = lambda container: None,
) -> Path:
    """Writes a video of 25 frames a second, with a rising tone as long in each audio track.

    `prepare` is called with the container as soon as it has its streams.
    """
    with av.open(
        f"file:{path}", "w", format=container_format, options=dict(muxer or {})
    ) as container:
        video = container.add_stream(codec, rate=RATE, options=dict(options or {}))
        video.height, video.width = picture(0).shape[:2]
        video.pix_fmt = pix_fmt
        tracks = [container.add_stream(one, rate=audio_rate, layout="mono") for one in audio]
        for track in tracks:
            track.bit_rate = 64_000
        prepare(container)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for track in tracks:
            _add_tone(container, track, frames / RATE)
    return path


def _add_tone(container: Any, track: Any, seconds: float) -> None:
    rate, size = track.rate, track.codec_context.frame_size or 1024
    form = track.format.name
    for start in range(0, int(seconds * rate) - size + 1, size):
        times = np.arange(start, start + size) / rate
        tone = 0.3 * np.sin(2 * np.pi * (300 * times + 600 * times**2))
        is_float = form.startswith(("flt", "dbl"))
        samples = tone.astype(np.float32) if is_float else (tone * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format=form, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(track.encode(frame))
    container.mux(track.encode())


def audio_of(path: Path, track: int = 0) -> tuple[float, NDArray[np.float32], int]:
    """Decodes an audio track: time of its first sample in seconds, mono samples, rate."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.audio[track]
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=stream.rate)
        frames = [one for frame in container.decode(stream) for one in resampler.resample(frame)]
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return float(frames[0].pts * frames[0].time_base), samples, stream.rate


def audio_codecs(path: Path) -> list[str]:
    """Names of the codecs of all audio tracks."""
    with av.open(f"file:{path}") as container:
        return [stream.codec_context.name for stream in container.streams.audio]


def video_times(path: Path) -> list[float]:
    """Times of all frames in seconds, in the order of the file."""
    with av.open(f"file:{path}") as container:
        return [float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None]
