"""Scores as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mggr_edge.atomic import atomic_file
from mggr_edge.strict import plain
from mggr_tf.evaluation.protocol import Scores, Table

_COLUMNS = {
    "l1": ("L1", "{:.4f}"),
    "mse": ("MSE", "{:.5f}"),
    "psnr_db": ("PSNR", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "gaze_error_deg": ("gaze error", "{:.2f}"),
}


def table_text(table: Table) -> str:
    """One line per method, aligned; gaze error in degrees, L1 and MSE of the [0, 1] range."""
    lines = [" " * 12 + "".join(f"{title:>12}" for title, _ in _COLUMNS.values())]
    for method, metrics in table.items():
        cells = (f"{form.format(metrics[name]):>12}" for name, (_, form) in _COLUMNS.items())
        lines.append(f"{method:<12}" + "".join(cells))
    return "\n".join(lines)


def scores_text(scores: Scores) -> str:
    """The whole report for a terminal."""
    parts = [
        f"{scores.pairs} pairs of {len(scores.subjects)} subjects, "
        f"median flow {scores.median_flow_px:.2f} px, "
        f"residual inside the iris {scores.iris_residual:.4f}",
        table_text(scores.overall),
    ]
    for title, tables in (("gaze shift", scores.by_shift), ("head yaw", scores.by_head)):
        parts += [f"{title} {name}\n{table_text(table)}" for name, table in tables.items()]
    copy, ours = scores.overall["copy"], scores.overall["redirected"]
    parts.append(
        f"redirected / copy: L1 {ours['l1'] / copy['l1']:.3f}, "
        f"gaze error {ours['gaze_error_deg'] / copy['gaze_error_deg']:.3f}"
    )
    return "\n\n".join(parts)


def write_json(path: Path, scores: Scores, *, about: Mapping[str, Any], force: bool) -> None:
    """Writes the scores and what they were measured with."""
    with atomic_file(path, force=force) as temporary:
        text = json.dumps({**about, "scores": plain(scores)}, indent=2, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")
