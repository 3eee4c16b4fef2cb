"""The eyes that an export is calibrated and proved on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mggr_edge.errors import DataError
from mggr_edge.progress import Progress
from mggr_tf.config import Config
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC, open_samples
from mggr_tf.training.run_folder import DataRecord


def samples_for_export(
    data: str | None,
    *,
    trained_on: DataRecord,
    config: Config,
    draw: int,
    progress: Progress,
    say: Callable[[str], None],
) -> EyeSamples:
    """The run's own eyes, or those that were named.

    Subjects that the run never touched stay untouched: of a folder that holds
    the run's subjects, only these are taken.

    Args:
        data: `synthetic`, a folder, or None for what the run was trained on.
        trained_on: from the run.
        config: of the run; it says what synthetic people look like.
        draw: at most so many synthetic people, the first of the run's own.

    Raises:
        DataError: the folder is gone, or holds nothing usable.
    """
    source = data if data is not None else trained_on.source
    if source == SYNTHETIC:
        return draw_people(config, draw, progress=progress, say=say)
    if data is None and not Path(source).is_dir():
        raise DataError(
            f"the data that the run was trained on ({source}) is gone; name the eyes to "
            "calibrate and compare with: --data FOLDER or --data synthetic"
        )
    say(f"eyes: {source}")
    known = {*trained_on.subjects, *trained_on.held_out}
    everyone = open_samples(source, config=config, subjects=None, progress=progress, say=say)
    ours = known & set(everyone.subjects)
    return everyone.of_subjects(ours) if ours else everyone


def draw_people(
    config: Config, people: int, *, progress: Progress, say: Callable[[str], None]
) -> EyeSamples:
    """A few of the config's synthetic people."""
    few = replace(
        config.synthetic,
        subjects=min(people, config.synthetic.subjects),
        per_group=max(2, config.synthetic.per_group),
    )
    say(f"eyes: synthetic, {few.subjects} people")
    drawn = replace(config, synthetic=few)
    return open_samples(SYNTHETIC, config=drawn, subjects=None, progress=progress, say=say)
