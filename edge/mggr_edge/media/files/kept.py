"""Copy metadata, chapters and track flags of a video, and detect losses.

Containers support different kinds of metadata. All metadata are passed to the muxer, but the muxer
may drop a part of the metadata. After the file is completed, `lost` compares the file with the
source and returns the actual losses.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mggr_edge.media.files.pyav import import_pyav

_CONTAINER_KEYS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "software"}
)
"""Metadata keys that describe the container of the source, not the content of the video."""

_TRACK_KEYS = re.compile(
    r"^(_statistics_|bps|duration|number_of_|vendor_id|encoder|handler_name|rotate|alpha_mode)",
    re.IGNORECASE,
)
"""Pattern of metadata keys that are not copied.

Muxers write some of these keys themselves. The other keys describe the encoding of the source."""

_CHAPTER_CODEC = "bin_data"
"""FFmpeg's name of the codec of chapter tracks in MP4."""

_MOST_NAMES = 6
"""Maximum number of names in a note. If there are more names, the note states how many more."""


@dataclass(frozen=True)
class Extras:
    """Metadata, chapters and flags of a video.

    Attributes:
        chapters: PyAV dictionaries with start, end, time base and metadata of each chapter.
        metadata: metadata of the video track, without keys that describe the encoding of the track.
        disposition: FFmpeg's disposition flags of the video track, for example "default".
        audio: (index in the source, metadata, disposition flags) of each audio track.
        has_alpha: whether the frames have transparency. H.264 does not support transparency.
    """

    chapters: tuple[dict[str, Any], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    disposition: int = 0
    audio: tuple[tuple[int, tuple[tuple[str, str], ...], int], ...] = ()
    has_alpha: bool = False


NO_EXTRAS = Extras()


def extras_of(container: Any, stream: Any) -> Extras:
    """Return the metadata, chapters and flags of a container and its video stream."""
    return Extras(
        chapters=tuple(container.chapters()),
        metadata=tuple(track_metadata(stream.metadata).items()),
        disposition=stream.disposition.value,
        audio=tuple(
            (s.index, tuple(track_metadata(s.metadata).items()), s.disposition.value)
            for s in container.streams.audio
        ),
        has_alpha=_has_alpha(stream),
    )


def other_streams(container: Any, stream: Any) -> tuple[str, ...]:
    """Return the names of all streams except audio streams and the given video stream.

    MP4 stores chapters and timecodes in separate tracks. These tracks are not listed, because
    chapters and timecodes are read as metadata.
    """
    chapters = bool(container.chapters())
    return tuple(
        "cover picture" if is_cover(other) else f"{other.type} stream"
        for other in container.streams
        if other.index != stream.index
        and other.type != "audio"
        and not (other.type == "data" and chapters and other.name == _CHAPTER_CODEC)
        and not (other.type == "data" and "timecode" in other.metadata)
    )


def is_cover(stream: Any) -> bool:
    """Return whether a video stream is only a still picture, such as the cover of an album."""
    return bool(stream.disposition & import_pyav().stream.Disposition.attached_pic)


def file_metadata(source: Mapping[str, str], comment: str) -> dict[str, str]:
    """Return the metadata of the source with an additional comment, for the output.

    Args:
        source: metadata of the source file.
        comment: text that is added after the comment of the source.
    """
    kept = {k: v for k, v in source.items() if k.lower() not in _CONTAINER_KEYS}
    before = next((kept.pop(k) for k in list(kept) if k.lower() == "comment"), "")
    return {**kept, "comment": f"{before}; {comment}" if before else comment}


def track_metadata(source: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of a track, without keys that describe the encoding of the track.

    The MP4 demuxer uses the key `name` for the title. This key is renamed to `title`, because
    muxers expect that key.
    """
    kept = {k: v for k, v in source.items() if not _TRACK_KEYS.match(k)}
    if "name" in kept:
        kept.setdefault("title", kept.pop("name"))
    return kept


def needs_free_keys(metadata: Mapping[str, str]) -> bool:
    """Return whether MP4 metadata must be written with free keys ("mdta").

    Phones write free keys such as `com.apple.quicktime.make`. With free keys, common fields such as
    the title are also written in this form, and fewer players display these fields. Therefore, free
    keys are used only if the source has a free key.
    """
    return any("." in key for key in metadata)


def not_kept(*losses: Iterable[str]) -> tuple[str, ...]:
    """Return a tuple with one note that lists all losses.

    If there are no losses, the tuple is empty.
    """
    counts = Counter(loss for some in losses for loss in some)
    if not counts:
        return ()
    listed = "; ".join(loss if n == 1 else f"{n} times {loss}" for loss, n in counts.items())
    return (f"not kept: {listed}",)


def side_data_losses(frame: Any) -> tuple[str, ...]:
    """Return the names of the side data that are lost when a decoded frame is encoded again.

    Side data are additional data of a frame, for example closed captions.
    """
    kinds = import_pyav().sidedata.sidedata.Type
    names = {
        kinds.A53_CC: "closed captions",
        kinds.STEREO3D: "stereo layout",
        kinds.SPHERICAL: "spherical projection",
        kinds.S12M_TIMECODE: "timecodes of single frames",
    }
    return tuple(name for kind, name in names.items() if frame.side_data.get(kind) is not None)


def lost(
    metadata: Mapping[str, str], extras: Extras, container: Any, tracks: Mapping[int, Any]
) -> tuple[str, ...]:
    """Return descriptions of the parts of the source that the completed output does not contain.

    Args:
        metadata: metadata of the source file.
        extras: track metadata, chapters and flags of the source.
        container: PyAV container of the output, opened for reading.
        tracks: dictionary from the index of an audio track in the source to the output stream.
    """
    found = []
    video = container.streams.video[0]
    missing = _missing(file_metadata(metadata, ""), {**video.metadata, **container.metadata})
    missing += _missing(dict(extras.metadata), {**container.metadata, **video.metadata})
    for index, wanted, _ in extras.audio:
        if index in tracks:
            missing += _missing(dict(wanted), tracks[index].metadata)
    if missing:
        found.append(f"metadata ({_listed(dict.fromkeys(missing))})")
    if len(container.chapters()) < len(extras.chapters):
        found.append(f"{len(extras.chapters) - len(container.chapters())} chapters")
    flags = list(_lost_flags(extras, tracks))
    if flags:
        found.append(f"audio track flags ({_listed(dict.fromkeys(flags))})")
    if extras.has_alpha:
        found.append("transparency")
    return tuple(found)


def _missing(wanted: Mapping[str, str], got: Mapping[str, str]) -> list[str]:
    there = {key.lower() for key in got}
    there |= {"title"} if "name" in there else set()
    unset = {"language": "und"}
    return [k for k, v in wanted.items() if k.lower() not in there and unset.get(k.lower()) != v]


def _lost_flags(extras: Extras, tracks: Mapping[int, Any]) -> Iterable[str]:
    # If the output has only one audio track, every player plays this track. The loss of the flag
    # "default" then does not matter.
    several = len(tracks) > 1
    known = import_pyav().stream.Disposition
    for index, _, wanted in extras.audio:
        if index in tracks:
            gone = wanted & ~tracks[index].disposition.value
            yield from (
                flag.name.replace("_", " ")
                for flag in known
                if flag.value & gone and (several or flag != known.default)
            )


def _has_alpha(stream: Any) -> bool:
    # VP8 and VP9 store transparency outside the normal stream, so the pixel format has no alpha.
    # Only the key `alpha_mode` shows that the file has transparency.
    keys = {key.lower(): value for key, value in stream.metadata.items()}
    form = stream.codec_context.format
    in_frames = form is not None and any(part.is_alpha for part in form.components)
    return in_frames or keys.get("alpha_mode") == "1"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - _MOST_NAMES
    shown = ", ".join(every[:_MOST_NAMES])
    return shown if more <= 0 else f"{shown} and {more} more"


_MASTERING, _LIGHT_LEVEL = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"

_DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
}
"""Text that notes contain for each kind of side data that x265 cannot write.

The keys are PyAV's names of the side data."""

_MASTERING_STRUCT = struct.Struct("=20i2i")
"""Memory layout of FFmpeg's structure `AVMasteringDisplayMetadata`.

The fields are ten fractions, a flag for primaries, and a flag for luminances."""

_LIGHT_LEVEL_STRUCT = struct.Struct("=2I")

_PER_CHROMATICITY, _PER_NIT = 50_000, 10_000
"""Scale factors for ST 2086 values in H.265.

The first factor is per unit of chromaticity. The second factor is per cd/m2."""


@dataclass(frozen=True)
class HdrMetadata:
    """Static HDR metadata of a video.

    Attributes:
        mastering: properties of the mastering display, in the text format and units of x265.
            `None` means that the video does not state these properties.
        light_level: (MaxCLL, MaxFALL) in cd/m2: the maximum light level of a pixel, and the
            maximum average light level of a frame. `None` means that the video does not state
            these levels.
        left_out: names of HDR metadata of the video that cannot be written to the output.
    """

    mastering: str | None = None
    light_level: tuple[int, int] | None = None
    left_out: tuple[str, ...] = ()

    def x265_params(self) -> tuple[str, ...]:
        """Return the x265 parameters that write these metadata."""
        params = []
        if self.mastering is not None:
            params.append(f"master-display={self.mastering}")
        if self.light_level is not None:
            params.append("max-cll={},{}".format(*self.light_level))
        return tuple(params)


NO_METADATA = HdrMetadata()


def hdr_metadata(frame: Any) -> HdrMetadata:
    """Return the static HDR metadata of a decoded frame."""
    kinds = import_pyav().sidedata.sidedata.Type
    sides = {kind.name: frame.side_data.get(kind) for kind in kinds}
    found = {name: bytes(data) for name, data in sides.items() if data is not None}
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
