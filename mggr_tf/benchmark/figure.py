"""Plots without a display."""

from __future__ import annotations

from pathlib import Path

from mggr_edge.common.atomic import atomic_file


class Figure:
    """A row of axes, drawn without a display."""

    def __init__(self, count: int) -> None:
        from matplotlib.figure import Figure as Canvas

        self._figure = Canvas(figsize=(5.5 * count, 4), layout="constrained")
        self.axes = list(self._figure.subplots(1, count, squeeze=False)[0])

    def save(self, path: Path) -> None:
        self.axes[0].legend(fontsize="small")
        with atomic_file(path, force=True) as temporary:
            self._figure.savefig(temporary, dpi=110)
