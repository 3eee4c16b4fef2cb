"""Convert HDR frames to SDR by tone mapping. The networks need SDR frames as input.

The steps follow ITU-R recommendations:

1. Convert the BT.2100 code values to display light in cd/m2. For PQ, this step uses the PQ EOTF.
   For HLG, this step uses the HLG inverse OETF and the HLG OOTF. The OOTF is for a display with a
   peak of 1000 cd/m2 (system gamma 1.2).
2. Convert the primaries from BT.2020 (or Display P3) to BT.709. Colours outside BT.709 are clipped.
3. Compress the light from at most 1000 cd/m2 to at most 203 cd/m2 with the EETF of BT.2390. The
   EETF is applied to the maximum of R, G and B, so that hues are kept. In HDR, 203 cd/m2 is the
   level of diffuse white (BT.2408). This level becomes SDR white. The EETF does not change light
   below 90 cd/m2. An HDR video may contain SDR material that was converted to HDR as BT.2408
   recommends. Therefore, this material gets its original SDR values again below 90 cd/m2. 4.
   Convert the light to sRGB code values, because the networks were trained with sRGB.

The peak luminance is always 1000 cd/m2 and is not read from the metadata of the file. Metadata
often state 4000 or 10,000 cd/m2, although no pixel reaches that level. An EETF for such a high peak
would darken faces.

Terms: EOTF, OETF, OOTF and EETF are the electro-optical, opto-electronic, opto-optical and
electrical-electrical transfer functions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.pyav import import_pyav

Transfer = Literal["pq", "hlg"]

_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""Transfer function for each H.273 code of the transfer characteristics."""

_WHITE_D65 = (0.3127, 0.3290)
_BT709, _BT2020, _P3_D65 = 1, 9, 12
_PRIMARIES = {
    _BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3_D65: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Chromaticities (x, y) of red, green and blue, for each H.273 code of the colour primaries."""

_PEAK_NITS, _DIFFUSE_WHITE_NITS = 1000.0, 203.0

# BT.2100, table 4 (PQ) and table 5 (HLG).
_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A = 0.17883277
_HLG_B, _HLG_C = 1 - 4 * _HLG_A, 0.5 - _HLG_A * np.log(4 * _HLG_A)
_HLG_GAMMA = 1.2

_INVERSE_STEPS = 4096


class CodeMap(Protocol):
    """Mapping of the code values of a file to SDR code values, and back.

    All arrays have shape [..., 3] and values in [0, 1].
    """

    def sdr_from_codes(self, codes: NDArray, /) -> NDArray:
        """Return the SDR code values. The networks need these values as input."""
        ...

    def codes_from_sdr(self, sdr: NDArray, /) -> NDArray:
        """Apply the inverse of `sdr_from_codes`.

        The inverse is exact for colours that `sdr_from_codes` does not clip.
        """
        ...

    def codes_from_graphics(self, sdr: NDArray, /) -> NDArray:
        """Return the code values for graphics that are drawn on a frame, such as labels."""
        ...


class SameCodes:
    """Identity mapping for SDR files. Their code values are already SDR code values."""

    def sdr_from_codes(self, codes: NDArray, /) -> NDArray:
        """Return the code values, clipped to [0, 1]."""
        return np.clip(codes, 0.0, 1.0)

    def codes_from_sdr(self, sdr: NDArray, /) -> NDArray:
        """Return the values unchanged."""
        return sdr

    codes_from_graphics = codes_from_sdr


@dataclass(frozen=True)
class ToneMap:
    """Mapping of full-range R'G'B' code values of an HDR signal to SDR and back.

    Attributes:
        transfer: transfer function of the signal.
        primaries: H.273 code of the colour primaries of the signal: 1, 9 or 12.
    """

    transfer: Transfer
    primaries: int

    def sdr_from_codes(self, codes: NDArray, /) -> NDArray:
        """Map HDR code values to sRGB code values.

        Args:
            codes: R'G'B' code values, [..., 3]. Values outside [0, 1] are clipped.

        Returns:
            The sRGB code values, [..., 3] in [0, 1].
        """
        nits = self._nits_from_codes(np.clip(codes, 0.0, 1.0))
        nits = np.maximum(nits @ _from_primaries(self.primaries, _BT709).T, 0.0)
        greatest = nits.max(axis=-1, keepdims=True)
        scale = _compressed(greatest) / np.maximum(greatest, 1e-6)
        return _srgb_from_linear(np.minimum(nits * scale / _DIFFUSE_WHITE_NITS, 1.0))

    def codes_from_sdr(self, sdr: NDArray, /) -> NDArray:
        """Map sRGB code values to HDR code values, as the inverse of `sdr_from_codes`.

        Args:
            sdr: sRGB code values, [..., 3] in [0, 1]. White (1) becomes 1000 cd/m2.
        """
        nits = _linear_from_srgb(sdr) * _DIFFUSE_WHITE_NITS
        greatest = nits.max(axis=-1, keepdims=True)
        return self._codes_from_bt709(nits * (_expanded(greatest) / np.maximum(greatest, 1e-6)))

    def codes_from_graphics(self, sdr: NDArray, /) -> NDArray:
        """Map sRGB code values to HDR code values by the rule of BT.2408 for graphics.

        Args:
            sdr: sRGB code values, [..., 3] in [0, 1]. White (1) becomes 203 cd/m2.
        """
        return self._codes_from_bt709(_linear_from_srgb(sdr) * _DIFFUSE_WHITE_NITS)

    def _codes_from_bt709(self, nits: NDArray) -> NDArray:
        return self._codes_from_nits(nits @ _from_primaries(_BT709, self.primaries).T)

    def _nits_from_codes(self, codes: NDArray) -> NDArray:
        if self.transfer == "pq":
            return _nits_from_pq(codes)
        scene = np.where(
            codes <= 0.5, codes**2 / 3, (np.exp((codes - _HLG_C) / _HLG_A) + _HLG_B) / 12
        )
        return _PEAK_NITS * scene * self._luminance(scene) ** (_HLG_GAMMA - 1)

    def _codes_from_nits(self, nits: NDArray) -> NDArray:
        if self.transfer == "pq":
            return _pq_from_nits(nits)
        display = np.clip(nits / _PEAK_NITS, 0.0, 1.0)
        luminance = np.maximum(self._luminance(display), 1e-9)
        scene = np.minimum(display * luminance ** (1 / _HLG_GAMMA - 1), 1.0)
        bright = _HLG_A * np.log(np.maximum(12 * scene - _HLG_B, 1e-6)) + _HLG_C
        return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)

    def _luminance(self, rgb: NDArray) -> NDArray:
        return rgb @ _xyz_from_rgb(self.primaries)[1][:, None]


SDR = SameCodes()


def tone_map_for(transfer_tag: int, primaries_tag: int) -> ToneMap | None:
    """Return the tone map of a video, or `None` for an SDR video.

    Args:
        transfer_tag: H.273 code of the transfer characteristics.
        primaries_tag: H.273 code of the colour primaries. Unknown primaries are treated as
            BT.2020, because BT.2100 allows only these primaries.

    Example:
        >>> tone_map_for(18, 9)
        ToneMap(transfer='hlg', primaries=9)
    """
    transfer = _TRANSFERS.get(transfer_tag)
    if transfer is None:
        return None
    return ToneMap(transfer, primaries_tag if primaries_tag in _PRIMARIES else _BT2020)


def _pq_from_nits(nits: NDArray) -> NDArray:
    y = (np.maximum(nits, 0.0) / 10_000) ** _PQ_M1
    return ((_PQ_C1 + _PQ_C2 * y) / (1 + _PQ_C3 * y)) ** _PQ_M2


def _nits_from_pq(codes: NDArray) -> NDArray:
    root = codes ** (1 / _PQ_M2)
    return 10_000 * (np.maximum(root - _PQ_C1, 0.0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1)


def _compressed(nits: NDArray) -> NDArray:
    """Apply the EETF of BT.2390-8, section 5.4.1. The step for the black level is omitted."""
    peak = _pq_from_nits(np.array(_PEAK_NITS))
    return _nits_from_pq(_eetf(np.minimum(_pq_from_nits(nits) / peak, 1.0)) * peak)


def _expanded(nits: NDArray) -> NDArray:
    """Apply the inverse of `_compressed`."""
    peak = _pq_from_nits(np.array(_PEAK_NITS))
    steps = np.linspace(0.0, 1.0, _INVERSE_STEPS)
    source = np.interp(_pq_from_nits(nits) / peak, _eetf(steps), steps)
    return _nits_from_pq(source.astype(nits.dtype) * peak)


def _eetf(source: NDArray) -> NDArray:
    """Apply the Hermite spline of BT.2390.

    Input and output are PQ values, divided by the PQ value of the peak luminance.
    """
    top = _pq_from_nits(np.array(_DIFFUSE_WHITE_NITS)) / _pq_from_nits(np.array(_PEAK_NITS))
    knee = 1.5 * top - 0.5
    t = np.maximum(source - knee, 0.0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * top
    )
    return np.where(source < knee, source, spline)


def _srgb_from_linear(linear: NDArray) -> NDArray:
    bright = 1.055 * np.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bright)


def _linear_from_srgb(codes: NDArray) -> NDArray:
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


@cache
def _from_primaries(source: int, target: int) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix that converts linear RGB from one set of primaries to another."""
    return np.asarray(np.linalg.solve(_xyz_from_rgb(target), _xyz_from_rgb(source)), np.float64)


@cache
def _xyz_from_rgb(primaries: int) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix that converts linear RGB to CIE XYZ.

    The second row contains the luminance of red, green and blue.
    """
    chromaticities = (*_PRIMARIES[primaries], _WHITE_D65)
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in chromaticities]).T
    colours, white = columns[:, :3], columns[:, 3]
    return np.asarray(colours * np.linalg.solve(colours, white), np.float64)


_STEPS = 33
"""Number of entries along each axis of the lookup table.

The error of the table was measured on a frame with a face, in 8-bit levels. On average, the table
differs from the exact tone map by 0.34 levels for PQ and by 0.21 levels for HLG. For 99 % of the
pixels, the difference is at most 1.4 levels for PQ and 0.8 levels for HLG."""

_PLANAR_RGB = "gbrp16le"
"""Pixel format of the frames that the filter `lut3d` processes.

For this format, `lut3d` uses vector instructions. The format rgb48 is not used: with full chroma
interpolation, libswscale of FFmpeg 8.0 converts 10-bit frames to rgb48 incorrectly."""


class SdrView:
    """Applies a tone map to the frames of one video.

    Args:
        tone_map: mapping from R'G'B' code values of the video to SDR.
    """

    def __init__(self, tone_map: ToneMap) -> None:
        self._tone_map = tone_map
        self._reformatter = import_pyav().video.reformatter.VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._count = 0

    def rgb_from_frame(
        self, frame: Any, *, dst_color_range: int, interpolation: int, **source: int
    ) -> NDArray[np.uint8]:
        """Convert a decoded HDR frame to [H, W, 3] uint8 sRGB.

        Args:
            frame: PyAV frame.
            dst_color_range, interpolation, source: libswscale parameters for the conversion of
                the frame to RGB.
        """
        to_full = {"dst_color_range": dst_color_range, "interpolation": interpolation}
        planar = self._reformatter.reformat(frame, format=_PLANAR_RGB, **to_full, **source)
        if (frame.height, frame.width) != self._size:
            self._graph, self._entry, self._exit = _graph_of(self._tone_map, planar)
            self._size = frame.height, frame.width
        planar.pts, planar.time_base = self._count, Fraction(1, 1)
        self._count += 1
        self._entry.push(planar)
        mapped = self._exit.pull()
        return self._reformatter.reformat(mapped, format="rgb24", **to_full).to_ndarray()


def _graph_of(tone_map: ToneMap, frame: Any) -> tuple[Any, Any, Any]:
    av = import_pyav()
    graph = av.filter.Graph()
    entry = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1)
    )
    with _table_file(tone_map) as table:  # the file is read when the filter is created
        mapping = graph.add("lut3d", file=str(table), interp="tetrahedral")
    sink = graph.add("buffersink")
    entry.link_to(mapping)
    mapping.link_to(sink)
    graph.configure()
    return graph, entry, sink


@contextmanager
def _table_file(tone_map: ToneMap) -> Iterator[Path]:
    """Write the lookup table to a temporary file. `lut3d` can read a table only from a file."""
    try:
        with tempfile.TemporaryDirectory(prefix="mggr-edge-") as folder:
            table = Path(folder) / "tone-map.cube"
            table.write_text(_cube(tone_map), encoding="ascii")
            yield table
    except OSError as error:
        raise StreamError(
            f"the tone map of an HDR video cannot be written to a temporary file: {error}; "
            "set TMPDIR to a folder with at least 1 MB of free space",
            code="tone-map-unwritable",
            reason=str(error),
        ) from error


@lru_cache(maxsize=4)
def _cube(tone_map: ToneMap) -> str:
    """Return the lookup table as text in the .cube format.

    Each line contains the output colour for one input colour. From line to line, the red value of
    the input changes fastest.
    """
    axis = np.linspace(0.0, 1.0, _STEPS)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    colours = tone_map.sdr_from_codes(np.stack([red, green, blue], axis=-1)).reshape(-1, 3)
    lines = (f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in colours.tolist())
    return "\n".join([f"LUT_3D_SIZE {_STEPS}", *lines, ""])
