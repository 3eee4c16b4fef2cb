"""Open photographs of eyes as the second data source of a run.

The gaze of each eye is known. Usually, the eye looks into the lens. There is only one photograph of
each eye, but most losses need two images of the same eye. Therefore a redirector (a network that
changes the gaze) generates the second image.
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
    """Read photographs into memory.

    Args:
        source: folder in a format that `mggr_tf.data.source.READERS` can read. `mggr-tf data crop
            --gaze` writes such folders.
        config: config of the run. If `split` is `None`, held-out subjects are chosen at random,
            with the fraction and the seed in the config.
        split: subject split. Its part `train` is used for training. Its part `select` is held out.
            Its part `report` is skipped.
        some_may_lack: whether the split may contain subjects without a patch. Such subjects are
            skipped.
        progress: function that creates a progress bar for reading.
        notify: callback for messages about skipped files.

    Raises:
        DataError: the source contains no usable patch.
        DataError: a subject of the split has no patch, and `some_may_lack` is false.
        DataError: the source contains no subject for training.
        UsageError: the source is `synthetic`, which contains no photographs.
    """
    if source == SYNTHETIC:
        raise UsageError(
            f"--portraits {source}: expected a folder of photographed eyes",
            code="portraits-synthetic",
            source=source,
        )
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
    """Raise an error if a subject is used for training in one source and held out in the other.

    A name that is in both sources counts as a single subject.

    Raises:
        DataError: at least one subject is used for training in one source and held out in the
            other.
    """
    for trained, aside in ((portraits, data), (data, portraits)):
        _refuse_shared(trained.train.subjects, aside.aside, trained.source, aside.source)


def _refuse_shared(
    trained: Collection[str], aside: Collection[str], trains: str, holds_out: str
) -> None:
    if both := sorted({*trained} & {*aside}):
        shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
        raise DataError(
            f"{len(both)} subjects of {trains} are selected for training, but they are held out in "
            f"{holds_out} ({shown}); select other subjects with --subjects or --portraits-split",
            code="subject-in-both-roles",
            count=len(both),
            trained=trains,
            held_out=holds_out,
            subjects=", ".join(both),
        )
