"""Photographs of people whose gaze is known, as a run's second data source.

Each photograph shows one eye at one gaze: into the lens, as a rule. There are no pairs of it, so
that most training needs another picture of the same eye, which a redirector makes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from mggr_edge.common.progress import Progress
from mggr_edge.errors import DataError, UsageError
from mggr_tf.config import Config
from mggr_tf.data.names import SYNTHETIC
from mggr_tf.data.source import Split, drawn_aside, open_samples
from mggr_tf.data.subject_split import SubjectSplit


def open_portraits(
    source: str,
    *,
    config: Config,
    split: SubjectSplit | None = None,
    some_may_lack: bool = False,
    progress: Progress,
    notify: Callable[[str], None],
) -> Split:
    """Opens photographs, in memory.

    Args:
        source: a folder that one of `readers.READERS` recognises, as `data crop --gaze` makes it.
        config: what part of the people is held out where no split names them, and by which seed.
        split: its part `train` is trained on and `select` held out; `report` is left out.
        some_may_lack: leave out people of the split of whom there is no patch.
        notify: called with messages about files that are left out.

    Raises:
        DataError: nothing usable there, or nobody of whom the split speaks.
        UsageError: drawn eyes are asked for, which are no photographs.
    """
    if source == SYNTHETIC:
        raise UsageError(f"--portraits {source}: expected a folder of photographed eyes")
    everyone = open_samples(source, config=config, subjects=None, progress=progress, notify=notify)
    names = everyone.subjects
    if split is None:
        aside = drawn_aside(names, config)
        split = SubjectSplit(tuple(n for n in names if n not in aside), tuple(sorted(aside)))
    if some_may_lack:
        split = SubjectSplit(*(tuple({*names} & {*part}) for part in (split.train, split.select)))
    split.refuse_unknown(names)
    return Split(
        str(Path(source).resolve()),
        everyone.of_subjects(split.train),
        everyone.of_subjects(split.select) if split.select else None,
        tuple(sorted(split.select)),
    )


def refuse_mixed_roles(data: Split, portraits: Split) -> None:
    """Refuses people whom one source trains on and the other holds out.

    Raises:
        DataError: there are some; a name stands for one person in all data.
    """
    for trained, aside in ((portraits, data), (data, portraits)):
        _refuse_shared(trained.train.subjects, aside.aside, trained.source, aside.source)


def _refuse_shared(
    trained: Collection[str], aside: Collection[str], trains: str, holds_out: str
) -> None:
    if both := sorted({*trained} & {*aside}):
        shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
        raise DataError(
            f"{len(both)} people of {trains} would be trained on that {holds_out} holds out "
            f"({shown}); name others with --subjects or --portraits-split"
        )
