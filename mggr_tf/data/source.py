"""Open data sources of eye patches in any supported format.

An eye patch is an image of one eye, 64 x 64 pixels. A data source is a folder with patches, or
`synthetic`. A pack is a folder that `mggr-tf data pack` wrote. Held-out subjects are subjects that
training does not use.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.folders import is_system_file
from mggr_edge.common.progress import Progress, from_counts
from mggr_edge.errors import DataError
from mggr_edge.media.files.paths import PICTURE_SUFFIXES
from mggr_edge.models.conventions import Conventions
from mggr_tf.config import Config
from mggr_tf.config.stages import Stage
from mggr_tf.data import columbia, folder, mpiigaze
from mggr_tf.data.listing import Listing, Scan, samples_of, scan_listing
from mggr_tf.data.names import SYNTHETIC, SYNTHETIC_LICENCE, drawn_name, present_names
from mggr_tf.data.packed import reader as packed
from mggr_tf.data.packed.index import is_pack
from mggr_tf.data.packed.samples import PackedSamples, open_pack
from mggr_tf.data.schema import EyeSamples, make_samples
from mggr_tf.drawn_eyes import SyntheticSamples, draw_samples
from mggr_tf.drawn_eyes.flow import mirrored_codes
from mggr_tf.drawn_eyes.samples import SIDES


class ListPath(Protocol):
    """A function that lists the patches of a source, for all subjects or for some subjects."""

    def __call__(self, path: Path, /, *, subjects: Collection[str] | None = None) -> Listing: ...


_KINDS = 3
"""The maximum number of file types that an error message lists."""


@dataclass(frozen=True)
class Reader:
    """The reader of one source format.

    Attributes:
        expects: description of the format, for error messages.
        recognises: fast function that checks whether an existing folder has this format.
        listing: function that lists the patches of the source.
    """

    expects: str
    recognises: Callable[[Path], bool]
    listing: ListPath


READERS: tuple[Reader, ...] = (
    Reader("a folder that `mggr-tf data pack` wrote", packed.recognises, packed.listing),
    Reader(
        f"patches listed in {folder.TABLE} (see docs/data.md)", folder.recognises, folder.listing
    ),
    Reader("MPIIGaze with Data/Normalized/p00/day01.mat", mpiigaze.recognises, mpiigaze.listing),
    Reader(
        "patches named 0001_2m_0P_10V_-5H_L.jpg as in the Columbia data set",
        columbia.recognises,
        columbia.listing,
    ),
)
"""All readers. The program tries them in this order. Therefore a table in the folder of the patches
has precedence over labels in file names."""


def list_source(path: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """List the patches of a source of any supported format.

    Args:
        path: folder of the source.
        subjects: names of the subjects to list. `None` lists all subjects.

    Raises:
        DataError: the folder does not exist.
        DataError: no reader recognises the folder.
        DataError: the reader finds an invalid file. The iterator over the patches can also raise
            this error, even at the last patch.
    """
    if not path.is_dir():
        what, code = (
            ("it is a file", "source-is-file")
            if path.exists()
            else ("it does not exist", "source-missing")
        )
        raise DataError(f"{path} is not a folder of eye patches: {what}", code=code, path=path)
    for reader in READERS:
        if reader.recognises(path):
            return reader.listing(path, subjects=subjects)
    kinds = "; ".join(reader.expects for reader in READERS)
    code, found = _in_words(path)
    raise DataError(
        f"{path} contains no readable eye patch: {found}; expected one of: {kinds}",
        code=code,
        path=path,
        found=found,
    )


def _in_words(path: Path) -> tuple[str, str]:
    """Describe a folder that no reader recognises. Return (error code, description)."""
    entries = [entry for entry in sorted(path.iterdir()) if not is_system_file(entry.name)]
    for entry in entries:
        if entry.is_dir() and any(reader.recognises(entry) for reader in READERS):
            return "patches-in-subfolder", f"the patches are in its subfolder; specify {entry}"
    kinds = Counter(entry.suffix.lower() for entry in entries if entry.is_file())
    if not kinds:
        return "folder-empty", "it contains no files, except hidden files and system files"
    named = ", ".join(
        f"{count} {suffix or 'without a suffix'}" for suffix, count in kinds.most_common(_KINDS)
    )
    pictures = ", ".join(PICTURE_SUFFIXES)
    return "folder-unrecognised", f"its files are {named} (supported formats: {pictures})"


def scan_source(path: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Read all images of a source into memory. See `list_source` for the arguments.

    Raises:
        DataError: the source cannot be listed (see `list_source`).
        DataError: the source contains no patch.
    """
    scanned = scan_listing(list_source(path, subjects=subjects))
    if not scanned.labels and not scanned.bad:
        whose = "" if subjects is None else f" of subject {', '.join(sorted(subjects))}"
        raise DataError(
            f"{path} contains no eye patch{whose}",
            code="no-patches",
            path=path,
            subjects=None if subjects is None else ", ".join(sorted(subjects)),
        )
    return scanned


Samples = EyeSamples | PackedSamples
"""Training samples (patches with labels), in memory or in a pack that is too large for memory."""

_HELD_OUT = 4096
"""The maximum number of held-out patches to load into memory from a large pack. Contact sheets
(overview images) and validation use these patches."""

_CROWD = 50
"""With at least this number of subjects, several rendering processes are faster than one. Below
this number, starting the processes takes too long."""


@dataclass(frozen=True)
class Split:
    """The samples for training and the samples of the held-out subjects.

    Attributes:
        source: `synthetic` or the absolute path of the folder.
        train: samples for training.
        held_out: samples of the held-out subjects. For a large pack, only some of these samples.
            `None` if no subject is held out.
        aside: sorted names of all held-out subjects.
    """

    source: str
    train: Samples
    held_out: EyeSamples | None
    aside: tuple[str, ...] = ()


def open_split(
    source: str,
    *,
    config: Config,
    stage: Stage,
    subjects: tuple[str, ...] | None,
    held_out: tuple[str, ...] | None = None,
    progress: Progress,
    notify: Callable[[str], None],
) -> Split:
    """Open a data source. Split it into samples for training and held-out samples.

    Args:
        source: `synthetic` or a folder that one of the `READERS` recognises. If a pack is too large
            for memory, `train` stays on disk, and `held_out` contains only some of the held-out
            patches.
        config: config of the run. The config sets the number of synthetic patches and the fraction
            of held-out subjects.
        stage: last training stage of the run. If this stage or an earlier stage has a loss on the
            exact flow, synthetic eyes are rendered with their exact flow. This flow is the true
            shift of each pixel from one patch to another patch.
        subjects: names of the subjects to train on. If names are given, no subject is held out.
            With `None`, training uses all subjects that are not held out.
        held_out: names of the subjects to hold out. Names that the source does not contain are
            ignored. With `None`, the subjects are chosen at random with the seed of the config.
        progress: function that creates a progress bar for rendering or reading.
        notify: callback for messages about skipped files.

    Raises:
        DataError: the source contains no usable patch.
        DataError: the source contains only patches of held-out subjects.
    """
    if held_out is not None:
        held_out = present_names(held_out, source, seed=config.synthetic.seed)
    samples = open_samples_or_pack(
        source,
        config=config,
        subjects=subjects,
        with_flow=config.asks_for_exact_flow(stage),
        progress=progress,
        notify=notify,
    )
    name = source if source == SYNTHETIC else str(Path(source).resolve())
    if subjects is not None:
        return Split(name, samples, None)
    everyone = samples.subjects
    aside = drawn_aside(everyone, config) if held_out is None else {*everyone} & {*held_out}
    return _split(name, samples, tuple(sorted(aside)))


def drawn_aside(everyone: tuple[str, ...], config: Config) -> set[str]:
    """Choose held-out subjects at random with the seed of the config.

    At least one subject is not held out.
    """
    count = min(round(len(everyone) * config.held_out), len(everyone) - 1)
    drawn = np.random.default_rng(config.seed).permutation(len(everyone))[:count]
    return {everyone[i] for i in drawn}


def _split(source: str, samples: Samples, aside: tuple[str, ...]) -> Split:
    if not aside:
        return Split(source, samples, None)
    others = [name for name in samples.subjects if name not in aside]
    if not others:
        raise DataError(
            f"{source}: all {len(aside)} subjects are held out, so no subject is left to train on; "
            "hold out fewer subjects",
            code="all-subjects-held-out",
            source=source,
            count=len(aside),
        )
    shown = samples.of_subjects(aside)
    if isinstance(shown, PackedSamples):
        shown = shown.preview(_HELD_OUT)
    return Split(source, samples.of_subjects(others), shown, aside)


def open_samples(
    source: str,
    *,
    config: Config,
    subjects: tuple[str, ...] | None,
    progress: Progress,
    notify: Callable[[str], None],
    with_flow: bool = False,
) -> EyeSamples:
    """Return all samples of some subjects. See `open_split` for the other arguments.

    Args:
        subjects: names of the subjects. With `None`, all subjects are used.
        with_flow: whether to add the exact flow between the patches of every group. The patches of
            a group have the same subject, side and head pose. Only synthetic eyes have an exact
            flow.

    Raises:
        DataError: the source contains no usable patch.
        DataError: the source is a pack that is larger than the memory limit of the config.
    """
    samples = open_samples_or_pack(
        source,
        config=config,
        subjects=subjects,
        with_flow=with_flow,
        progress=progress,
        notify=notify,
    )
    if isinstance(samples, PackedSamples):
        raise DataError(
            f"{source}: {len(samples)} patches of {len(samples.subjects)} subjects need more "
            f"memory than 'packed.memory_mb', {config.packed.memory_mb} MB; select fewer subjects "
            "with --subjects",
            code="pack-exceeds-memory",
            source=source,
            patches=len(samples),
            limit_mb=config.packed.memory_mb,
        )
    return samples


def open_samples_or_pack(
    source: str,
    *,
    config: Config,
    subjects: tuple[str, ...] | None,
    progress: Progress,
    notify: Callable[[str], None],
    with_flow: bool = False,
) -> Samples:
    """Return all samples of some subjects. A pack that is too large for memory stays on disk.

    See `open_samples` for the arguments.
    """
    if subjects is not None:
        subjects = present_names(subjects, source, seed=config.synthetic.seed)
    if source == SYNTHETIC:
        samples = _drawn(config, progress, with_flow=with_flow)
        return samples if subjects is None else samples.of_subjects(subjects)
    if is_pack(Path(source)):
        packed = open_pack(Path(source), how=config.packed, subjects=subjects, notify=notify)
        return packed.in_memory(progress=progress) if packed.fits_in_memory() else packed
    scanned = scan_source(Path(source), subjects=subjects)
    samples = samples_of(scanned, source=Path(source))
    if subjects is not None:
        missing = sorted(set(subjects) - set(samples.subjects))
        if missing:
            raise DataError(
                f"{source} contains no patch of subject {', '.join(missing)}",
                code="subject-without-patch",
                path=source,
                subjects=", ".join(missing),
            )
    if scanned.bad:
        notify(
            f"{source}: skipped {len(scanned.bad)} patches that show no eye or have an invalid "
            f"label (`mggr-tf data check {shlex.quote(str(source))}` lists them)"
        )
    return samples


def drawing_processes(subjects: int) -> int:
    """Return the number of rendering processes: 1 for a few subjects, otherwise one per core."""
    return (os.cpu_count() or 1) if subjects >= _CROWD else 1


def _drawn(config: Config, progress: Progress, *, with_flow: bool) -> EyeSamples:
    how = config.synthetic
    with progress("rendering synthetic eyes", None) as advance:
        drawn = draw_samples(
            subjects=how.subjects,
            per_group=how.per_group,
            seed=how.seed,
            with_flow=with_flow,
            workers=drawing_processes(how.subjects),
            progress=from_counts(advance),
        )
    samples = samples_of_drawn(drawn, seed=how.seed)
    return samples if drawn.flows is None else replace(samples, flows=_flows_of(drawn, samples))


def samples_of_drawn(drawn: SyntheticSamples, *, seed: int) -> EyeSamples:
    """Convert synthetic eyes to samples. The samples contain no flows."""
    return make_samples(
        drawn.images,
        gaze_deg=drawn.gaze_deg,
        head_deg=drawn.head_deg,
        sides=["left" if side else "right" for side in drawn.side],
        subjects=[drawn_name(seed, int(number)) for number in drawn.subject],
        landmarks=drawn.landmarks,
        lid_region=drawn.lid_region,
        state=drawn.state,
        source=f"synthetic, seed {seed}",
        licence=SYNTHETIC_LICENCE,
    )


def _flows_of(drawn: SyntheticSamples, samples: EyeSamples) -> NDArray[np.int8]:
    """Return the flows [G, P, P, H, W, 2]. The first index is the group number.

    Flows between patches of the non-canonical side are mirrored.
    """
    assert drawn.flows is not None
    per_group = drawn.flows.shape[1]
    flows = np.empty_like(drawn.flows)
    canonical = SIDES.index(Conventions().canonical_side)
    for block, codes in enumerate(drawn.flows):
        first = block * per_group
        mirrored = drawn.side[first] != canonical
        flows[samples.group[first]] = mirrored_codes(codes) if mirrored else codes
    return flows
