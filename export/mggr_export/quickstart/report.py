"""Write the report of a quickstart: one HTML file that contains all pictures and videos."""

from __future__ import annotations

import base64
import os
import platform
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import cv2

from mggr_edge.common import __version__
from mggr_edge.common.atomic import atomic_file
from mggr_export.quickstart import (
    CHART_SHEET,
    EYES_CLIP,
    FACES_CLIP,
    REPORT,
    STILLS_SHEET,
    STRIP_SHEET,
    prose,
)
from mggr_export.quickstart.portrait import SIZE_PX
from mggr_export.quickstart.prose import Outcome

_JPEG_QUALITY = 88


def sample_sheet(outcome: Outcome) -> str:
    """Return the last sheet of sample pictures as a `<figure>`.

    The text is empty if the training wrote no sheet.
    """
    sheet = outcome.sample_sheet()
    if sheet is None:
        return ""
    return (
        f'<figure><img class="pixels" src="{data_uri(sheet)}" alt="Synthetic eyes of held-out '
        'people"><figcaption>Synthetic eyes of held-out people. Each row shows one pair. Columns: '
        "source, output of the coarse branch (warp), residual of the fine branch (grey is zero), "
        "redirected eye, and ground truth.</figcaption></figure>"
    )


def data_uri(file: Path) -> str:
    """Return the content of a file as a data URI. The content is not encoded again."""
    kind = {".mp4": "video/mp4", ".png": "image/png"}[file.suffix]
    return _uri(kind, file.read_bytes())


def jpeg_uri(file: Path) -> str:
    """Return a large PNG sheet as a data URI of a smaller JPEG.

    The folder of the report contains the PNG file with the original pixels.
    """
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    done, content = cv2.imencode(".jpg", cv2.imread(str(file)), quality)
    assert done, "OpenCV writes JPEG"
    return _uri("image/jpeg", content.tobytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def write_report(outcome: Outcome) -> Path:
    """Write `report.html` into the outcome's folder and return its path."""
    path = outcome.folder / REPORT
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(report_text(outcome), encoding="utf-8")
    return path


def report_text(outcome: Outcome) -> str:
    """Return the HTML page. The page contains all pictures and videos as data URIs."""
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    folder, demo, run = outcome.folder, outcome.demo, outcome.run
    contract = outcome.bundles["int8"].contract
    return Template(template).substitute(
        minutes=prose.minutes(outcome.minutes),
        kind="training" if outcome.first is None else "fine-tuning",
        summary=prose.summary(outcome),
        faces_clip=data_uri(folder / FACES_CLIP),
        eyes_clip=data_uri(folder / EYES_CLIP),
        honest=prose.honest(outcome),
        tiles=prose.tiles(demo),
        chart=data_uri(folder / CHART_SHEET),
        chart_alt=escape(prose.chart_in_words(demo), quote=True),
        frames=demo.frames,
        following_rows=prose.following_rows(outcome),
        estimates=prose.estimates(demo),
        strip=jpeg_uri(folder / STRIP_SHEET),
        stills=jpeg_uri(folder / STILLS_SHEET),
        training_text=prose.training_text(outcome),
        stage_rows=prose.stage_rows(outcome),
        sample_sheet=sample_sheet(outcome),
        bundle_text=prose.bundle_text(outcome),
        frame_size=f"{SIZE_PX} × {SIZE_PX}",
        machine=escape(f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}"),
        bundle_rows=prose.bundle_rows(outcome),
        parity_pairs=contract.models["redirector"][0].parity[0].pairs,
        parity_rows=prose.parity_rows(outcome),
        commands=prose.commands(outcome),
        time_rows=prose.time_rows(outcome),
        version=__version__,
        seed=run.config.seed,
        python=platform.python_version(),
        tensorflow=escape(run.record.versions["tensorflow"]),
    )
