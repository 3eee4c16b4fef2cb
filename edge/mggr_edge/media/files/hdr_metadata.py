"""Static HDR metadata (SMPTE ST 2086, CTA-861.3): read from a frame, written for an encoder."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

_MASTERING, _LIGHT_LEVEL = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"

_DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
}
"""PyAV's names of side data that x265 cannot write -> what notes call them."""

_MASTERING_STRUCT = struct.Struct("=20i2i")
"""FFmpeg's AVMasteringDisplayMetadata: ten fractions; has primaries, has luminances."""

_LIGHT_LEVEL_STRUCT = struct.Struct("=2I")

_PER_CHROMATICITY, _PER_NIT = 50_000, 10_000
"""Units of ST 2086 as H.265 stores them."""


@dataclass(frozen=True)
class HdrMetadata:
    """Static HDR metadata of a video, in H.265's units.

    Attributes:
        mastering: x265's text of the mastering display; None when not said.
        light_level: (MaxCLL, MaxFALL) in cd/m2; None when not said.
        left_out: metadata that the video has and that cannot be written.
    """

    mastering: str | None = None
    light_level: tuple[int, int] | None = None
    left_out: tuple[str, ...] = ()

    def x265_params(self) -> tuple[str, ...]:
        """What makes x265 write it."""
        params = []
        if self.mastering is not None:
            params.append(f"master-display={self.mastering}")
        if self.light_level is not None:
            params.append("max-cll={},{}".format(*self.light_level))
        return tuple(params)


NO_METADATA = HdrMetadata()


def hdr_metadata(frame: Any) -> HdrMetadata:
    """Reads a decoded frame's static HDR metadata."""
    found = {data.type.name: bytes(data) for data in frame.side_data}
    left_out = [_DYNAMIC[name] for name in found if name in _DYNAMIC]
    mastering = _mastering(found[_MASTERING]) if _MASTERING in found else None
    if mastering is None and _MASTERING in found:
        left_out.append("incomplete mastering display metadata")
    levels = _LIGHT_LEVEL_STRUCT.unpack_from(found[_LIGHT_LEVEL]) if _LIGHT_LEVEL in found else None
    return HdrMetadata(mastering, levels, tuple(dict.fromkeys(left_out)))


def _mastering(data: bytes) -> str | None:
    *numbers, has_primaries, has_luminance = _MASTERING_STRUCT.unpack_from(data)
    if not (has_primaries and has_luminance):
        return None
    ratios = [
        up / down if down else 0.0 for up, down in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    red, green, blue, white = (
        "({},{})".format(*(round(value * _PER_CHROMATICITY) for value in ratios[n : n + 2]))
        for n in (0, 2, 4, 6)
    )
    least, most = (round(value * _PER_NIT) for value in ratios[8:])
    return f"G{green}B{blue}R{red}WP{white}L({most},{least})"
