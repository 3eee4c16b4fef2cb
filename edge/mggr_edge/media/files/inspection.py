"""Read the marks of a picture or video file that state how the file was made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mggr_edge.errors import UsageError
from mggr_edge.media.files.credentials import Credentials, has_library, read_credentials
from mggr_edge.media.files.marks import BOXED_SUFFIXES, Mark, read_mark, xmp_of_boxes
from mggr_edge.media.files.paths import find_source
from mggr_edge.media.files.pictures import read_pictures
from mggr_edge.media.files.video_reader import open_video


@dataclass(frozen=True)
class Inspection:
    """The marks of a file.

    Attributes:
        path: path of the file.
        mark: mark in the XMP of the file.
        comment: comment in the metadata of the file; empty if there is none.
        credentials: content credentials. `None` if the file has none, or if they were not checked.
        is_checked: whether content credentials were looked for. This needs c2pa-python.
    """

    path: Path
    mark: Mark
    comment: str
    credentials: Credentials | None
    is_checked: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection as JSON types."""
        return {**asdict(self), "path": str(self.path)}


def inspect_file(path: str | Path) -> Inspection:
    """Read the marks of a picture or video file.

    Raises:
        UsageError: the path is a folder or the address of a live source.
        StreamError: the file is missing or damaged, or is neither a picture nor a video.
        MissingPackageError: PyAV or Pillow is not installed.
    """
    source = find_source(path)
    if source.kind == "folder":
        raise UsageError(
            f"{source.path} is a folder; pass the files in it",
            code="folder-not-inspected",
            path=source.path,
        )
    if source.kind == "picture":
        metadata = read_pictures(source.path)[0].metadata
        xmp, comment = metadata.xmp, metadata.comment.decode("utf-8", errors="replace")
    else:
        with open_video(source.path) as video:
            kept = {key.lower(): value for key, value in video.layout.metadata.items()}
        comment = kept.get("comment", "")
        is_boxed = source.path.suffix.lower() in BOXED_SUFFIXES
        xmp = xmp_of_boxes(source.path) if is_boxed else b""
    is_checked = has_library()
    credentials = read_credentials(source.path) if is_checked else None
    return Inspection(source.path, read_mark(xmp), comment, credentials, is_checked)
