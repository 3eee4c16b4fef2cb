"""Everything that a quickstart made, for the report to tell."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from mggr_edge.models.bundle import Bundle
from mggr_export.quickstart.demo import Demo
from mggr_export.quickstart.names import BUNDLES
from mggr_export.quickstart.observe import Following
from mggr_tf.config.stages import Stage
from mggr_tf.runs.folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """A finished quickstart.

    Attributes:
        folder: where everything lies, under the names of `names`.
        minutes: of training that were asked for.
        run: what was trained.
        bundles: precision -> the exported bundle; "int8" is what the clip was made with.
        demo: what it did to the portrait.
        seconds: what was done -> how long it took.
        first: what the iris model saw of the package's own weights, before their training
            went on; None where it began from nothing.
    """

    folder: Path
    minutes: float
    run: RunFolder
    bundles: dict[str, Bundle]
    demo: Demo
    seconds: dict[str, float]
    first: Following | None = None

    def bundle_path(self, precision: str) -> Path:
        """Where a bundle lies."""
        return self.folder / BUNDLES[precision]

    def bundle_megabytes(self, precision: str) -> float:
        """Size of all files of a bundle, in 10^6 bytes."""
        files = self.bundle_path(precision).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

    def sample_sheet(self) -> Path | None:
        """The last sample sheet of the last stage that made one."""
        sheets = sorted((self.run.path / "sheets").glob("joint-*.png"))
        return sheets[-1] if sheets else None


@dataclass(frozen=True)
class Losses:
    """First and last line of a stage's log."""

    first: float
    last: float


def losses_of(run: RunFolder, stage: Stage) -> Losses:
    """Reads a stage's objective off its log."""
    with open(run.path / "logs" / f"{stage}.csv", newline="", encoding="utf-8") as handle:
        values = [float(row["loss"]) for row in csv.DictReader(handle)]
    return Losses(values[0], values[-1])
