"""What `mggr-tf train` trains on, opened and described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mggr_tf.cli.options import say

if TYPE_CHECKING:
    from mggr_tf.config import Config
    from mggr_tf.config.stages import Stage
    from mggr_tf.data.source import Split


def opened_data(
    data: str,
    out: Path,
    *,
    config: Config,
    stage: Stage,
    subjects: tuple[str, ...] | None,
    held_out: tuple[str, ...] | None = None,
) -> Split:
    """Opens training data for a run at `out`; see `source.open_split`.

    Raises:
        ConfigError: the config has no such stage.
        DataError: nothing usable there.
    """
    from mggr_edge.common.progress import progress
    from mggr_tf.data.source import open_split

    config.stage(stage)
    say(f"data: {data}; config: {config.name}; run: {out}")
    split = open_split(
        data,
        config=config,
        stage=stage,
        subjects=subjects,
        held_out=held_out,
        progress=progress,
        say=say,
    )
    say(f"{len(split.train)} patches of {len(split.train.subjects)} subjects")
    return split
