"""Small files that a run takes beside its input: tables of targets, and profiles."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2

from fuzzing import Case, Rng
from fuzzing_bytes import damaged
from fuzzing_json import mutated_text
from mggr_edge.common.schema import plain
from mggr_edge.models.installed import packaged_bundles
from mggr_edge.pipeline.gaze_correction import GazeCorrection
from mggr_edge.runs.profile import Profile
from ramps import smooth_picture

_ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "cp500")
_CELLS = (
    *("", "nan", "inf", "-inf", "1e999", "-1e308", "1_0", "٣", "0x10", "1,5", '"', "'1'", " 1 "),
    *("1e-400", "9" * 5000, "\0", "\r", "x" * 200_000, "-0", "TRUE", "1\n2"),
)


def make_table_case(rng: Rng, folder: Path) -> Case:
    """A table for --follow."""
    _write_photo(folder)
    rows = [[f"{0.1 * n:.1f}", f"{n % 7}", f"{-n}"] for n in range(12)]
    header = ["time_s", "pitch_deg", "yaw_deg"]
    match rng.integers(7):
        case 0 | 1:
            cell = _CELLS[rng.integers(len(_CELLS))]
            rows[rng.integers(12)][rng.integers(3)] = cell
            what = f"a cell {cell[:20]!r}"
        case 2:
            header = [str(h) for h in rng.permutation([*header, "", "time_s", "Ünit"])]
            header = header[: int(rng.integers(len(header) + 1))]
            what = f"the header {header}"
        case 3:
            row = rows[rng.integers(12)]
            row[:] = row * int(rng.integers(2, 4)) if rng.random() < 0.5 else row[:1]
            what = "a row too long or short"
        case 4:
            rows = [rows[n] for n in rng.permutation(12)] if rng.random() < 0.5 else []
            what = "rows in disorder, or none"
        case 5:
            rows[0][0] = rows[1][0]
            what = "a time twice"
        case _:
            what = "as it should be"
    content = "\n".join(",".join(row) for row in [header, *rows]).encode()
    if rng.random() < 0.3:
        content, how = damaged(rng, content)
        what += f", {how}"
    if rng.random() < 0.2:
        encoding = _ENCODINGS[rng.integers(len(_ENCODINGS))]
        content = content.decode(errors="replace").encode(encoding)
        what += f", in {encoding}"
    (folder / "targets.csv").write_bytes(content)
    named = (
        ("gone.csv", ".", "targets.csv/x", "y" * 300) if rng.random() < 0.1 else ("targets.csv",)
    )
    name = named[rng.integers(len(named))]
    return Case(("me.png", "out.png", "--follow", name), "out.png", what=what)


def make_profile_case(rng: Rng, folder: Path) -> Case:
    """A profile of schema 1, mutated."""
    fields = {
        "estimator_sha256": [],
        "lens_deg": [1.5, -2.0],
        "screen_deg": [-8.0, 3.0],
        "schema": 1,
    }
    return _profile_case(rng, folder, fields)


def make_correction_case(rng: Rng, folder: Path) -> Case:
    """A profile of schema 2, mutated."""
    correction = GazeCorrection(
        (1.5, -2.0), ((0.1, 0.0), (0.05, -0.2)), (3.0, 1.0), (-6.0, 8.0), (-20.0, 15.5)
    )
    return _profile_case(rng, folder, plain(Profile((), correction, 140, spread_deg=1.5)))


def _profile_case(rng: Rng, folder: Path, fields: dict[str, Any]) -> Case:
    _write_photo(folder)
    models = packaged_bundles() / "float" / "models"
    estimator = hashlib.sha256((models / "estimator.tflite").read_bytes()).hexdigest()
    profile: dict[str, Any] = {**fields, "estimator_sha256": [estimator]}
    content, what = mutated_text(rng, profile)
    if rng.random() < 0.15:
        content, how = damaged(rng, json.dumps(profile).encode())
        what = how
    (folder / "profile.json").write_bytes(content)
    return Case(("me.png", "out.png", "--profile", "profile.json"), "out.png", what=what)


def _write_photo(folder: Path) -> None:
    (folder / "me.png").write_bytes(cv2.imencode(".png", smooth_picture())[1].tobytes())
