"""Pictures and clips as data URIs: the report needs no other file."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2

from mggr_export.quickstart.outcome import Outcome

_JPEG_QUALITY = 88


def sample_sheet(outcome: Outcome) -> str:
    """The last sample sheet of the training, as a `<figure>`; nothing where there is none."""
    sheet = outcome.sample_sheet()
    if sheet is None:
        return ""
    return (
        f'<figure><img class="pixels" src="{data_uri(sheet)}" alt="Drawn eyes of people that '
        'training did not use"><figcaption>Drawn eyes of held-out people, a pair '
        "per row. Columns: source, warped by the coarse branch, residual of the fine branch (grey "
        "is zero), redirected, and the real target.</figcaption></figure>"
    )


def data_uri(file: Path) -> str:
    """A file as it is."""
    kind = {".mp4": "video/mp4", ".png": "image/png"}[file.suffix]
    return _uri(kind, file.read_bytes())


def jpeg_uri(file: Path) -> str:
    """A large sheet, smaller; the PNG beside the report has every pixel."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    done, content = cv2.imencode(".jpg", cv2.imread(str(file)), quality)
    assert done, "OpenCV writes JPEG"
    return _uri("image/jpeg", content.tobytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
