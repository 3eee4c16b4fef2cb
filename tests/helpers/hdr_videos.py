"""HDR videos for tests: SDR pictures mapped to HDR by BT.2408, by the formulas of BT.2100."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BT2020, PQ, HLG = 9, 16, 18

_BT2020_FROM_BT709 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
_LUMA = np.array([0.2627, 0.6780, 0.0593])


def hdr_codes(sdr: NDArray[np.floating], transfer: int) -> NDArray[np.float64]:
    """[..., 3] sRGB in [0, 1] -> BT.2100 R'G'B' in [0, 1], SDR white at 203 cd/m2 (BT.2408)."""
    linear = np.where(sdr < 0.04045, sdr / 12.92, ((sdr + 0.055) / 1.055) ** 2.4)
    nits = 203 * np.clip(linear @ _BT2020_FROM_BT709.T, 0, 1)
    return _pq(nits) if transfer == PQ else _hlg(nits)


def _pq(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    y = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def _hlg(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    display = nits / 1000
    scene = display * np.maximum(display @ _LUMA, 1e-9)[..., None] ** (1 / 1.2 - 1)
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    bright = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def ten_bit_planes(codes: NDArray[np.floating]) -> list[NDArray[np.uint16]]:
    """[H, W, 3] R'G'B' of an even size -> Y, Cb and Cr of BT.2020 in limited range, 4:2:0."""
    height, width = codes.shape[:2]
    luma = codes @ _LUMA
    cb, cr = (codes[..., 2] - luma) / 1.8814, (codes[..., 0] - luma) / 1.4746
    quarters = (p.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for p in (cb, cr))
    planes = [64 + 876 * luma, *(512 + 896 * p for p in quarters)]
    return [np.clip(np.rint(plane), 0, 1023).astype(np.uint16) for plane in planes]


def ten_bit_frame(planes: Sequence[NDArray[np.uint16]]):
    """PyAV's frame of yuv420p10le."""
    import av

    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, "yuv420p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
        rows[:, : plane.width] = values
    return frame


def write_ten_bit(
    path: Path,
    frames: Sequence[Sequence[NDArray[np.uint16]]],
    *,
    transfer: int,
    primaries: int = BT2020,
    matrix: int = BT2020,
    pts: Sequence[int] | None = None,
    params: str = "",
    sei: bytes = b"",
) -> None:
    """Writes planes by H.265 without loss, in 1/600 s.

    Args:
        params: more of x265's.
        sei: a NAL unit that is put before every frame.
    """
    import av

    options = {"preset": "ultrafast", "x265-params": f"lossless=1:bframes=0:log-level=none{params}"}
    muxer = {"video_track_timescale": "600"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream("libx265", rate=25, options=options)
        stream.height, stream.width = frames[0][0].shape
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc = primaries, transfer
        context.colorspace, context.color_range = matrix, 1
        context.time_base = Fraction(1, 600)

        def mux(packets) -> None:
            for packet in packets:
                if sei:
                    changed = av.Packet(b"\0\0\0\1" + sei + bytes(packet))
                    changed.pts, changed.dts = packet.pts, packet.dts
                    changed.time_base, changed.stream = packet.time_base, stream
                    changed.is_keyframe = packet.is_keyframe
                    packet = changed
                container.mux(packet)

        for count, planes in enumerate(frames):
            frame = ten_bit_frame(planes)
            frame.pts = 24 * count if pts is None else pts[count]
            frame.time_base = Fraction(1, 600)
            mux(stream.encode(frame))
        mux(stream.encode())
