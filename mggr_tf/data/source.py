"""Opens a source of eye patches, whatever its kind."""

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
from mggr_edge.models.contract import Conventions
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
    """Lists a source, of some subjects only or of all."""

    def __call__(self, path: Path, /, *, subjects: Collection[str] | None = None) -> Listing: ...


_KINDS = 3
"""So many kinds of files are named in a message."""


@dataclass(frozen=True)
class Reader:
    """One kind of source.

    Attributes:
        expects: what such a source looks like, for error messages.
        recognises: a cheap look at a folder that exists.
        listing: lists its patches.
    """

    expects: str
    recognises: Callable[[Path], bool]
    listing: ListPath


READERS: tuple[Reader, ...] = (
    Reader("what `mggr-tf data pack` wrote", packed.recognises, packed.listing),
    Reader(
        f"patches listed in {folder.TABLE} (see docs/data.md)", folder.recognises, folder.listing
    ),
    Reader("MPIIGaze with Data/Normalized/p00/day01.mat", mpiigaze.recognises, mpiigaze.listing),
    Reader(
        "patches named 0001_2m_0P_10V_-5H_L.jpg as those of the Columbia data set",
        columbia.recognises,
        columbia.listing,
    ),
)
"""In this order: a table beside the patches outweighs what they are called."""


def list_source(path: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """Lists the patches of whatever kind of source this is.

    Args:
        path: a folder.
        subjects: only these; None takes all.

    Raises:
        DataError: no such folder, nothing in it that any reader knows, or a reader's
            own complaint, which may come as late as the last entry.
    """
    if not path.is_dir():
        what = "it is a file" if path.exists() else "it does not exist"
        raise DataError(f"{path} is not a folder of eye patches: {what}")
    for reader in READERS:
        if reader.recognises(path):
            return reader.listing(path, subjects=subjects)
    kinds = "; ".join(reader.expects for reader in READERS)
    raise DataError(
        f"{path} holds no eye patch that can be read: {_in_words(path)}; expected one of: {kinds}"
    )


def _in_words(path: Path) -> str:
    """What a folder holds that no reader knows."""
    entries = [entry for entry in sorted(path.iterdir()) if not is_system_file(entry.name)]
    for entry in entries:
        if entry.is_dir() and any(reader.recognises(entry) for reader in READERS):
            return f"patches are in the folder {entry.name} within it, so name {entry}"
    kinds = Counter(entry.suffix.lower() for entry in entries if entry.is_file())
    if not kinds:
        return "no file is in it, but for hidden files and those of the system"
    named = ", ".join(
        f"{count} {suffix or 'without a suffix'}" for suffix, count in kinds.most_common(_KINDS)
    )
    pictures = ", ".join(PICTURE_SUFFIXES)
    return f"the files in it are {named} (patches are {pictures})"


def scan_source(path: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Reads whatever kind of source this is, with all its pictures; see `list_source`.

    Raises:
        DataError: as `list_source`, or there is no patch.
    """
    scanned = scan_listing(list_source(path, subjects=subjects))
    if not scanned.labels and not scanned.bad:
        whose = "" if subjects is None else f" of subject {', '.join(sorted(subjects))}"
        raise DataError(f"{path} holds no eye patch{whose}")
    return scanned


Samples = EyeSamples | PackedSamples
"""What can be trained on: in memory, or in a pack that is too large for it."""

_HELD_OUT = 4096
"""Patches of a large pack's held-out people, kept in memory for sheets and validation."""

_CROWD = 50
"""So many people take longer to draw on one core than processes take to start."""


@dataclass(frozen=True)
class Split:
    """Samples to train on, and of subjects that training leaves aside.

    Attributes:
        source: `synthetic`, or the absolute path of the folder.
        train: samples to train on.
        held_out: of those aside; of very many in a pack, some. None where nobody is.
        aside: names of all held-out people, sorted.
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
    """Opens training data.

    Args:
        source: `synthetic`, or a folder that one of `readers.READERS` recognises. Of a large
            pack `train` stays on disk, and of those held out some are taken.
        config: how much is drawn, and what part is held out.
        stage: the last one to train; exact flow is drawn where it or one before asks for it.
        subjects: train on exactly these; None holds some of them all out.
        held_out: whom to hold out, as far as they are there; None draws them by the config's seed.
        notify: called with messages about files that are left out.

    Raises:
        DataError: nothing usable there, or of people to hold out alone.
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
    """Whom the config holds out of these people, by its seed; at least one is left."""
    count = min(round(len(everyone) * config.held_out), len(everyone) - 1)
    drawn = np.random.default_rng(config.seed).permutation(len(everyone))[:count]
    return {everyone[i] for i in drawn}


def _split(source: str, samples: Samples, aside: tuple[str, ...]) -> Split:
    if not aside:
        return Split(source, samples, None)
    others = [name for name in samples.subjects if name not in aside]
    if not others:
        raise DataError(f"{source} shows nobody but the {len(aside)} who are held out")
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
    """All samples of some subjects (None: of all); see `open_split`.

    Args:
        with_flow: also the exact flow within every group, where it is known: of drawn eyes.

    Raises:
        DataError: nothing usable there, or a pack that the config does not let into memory.
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
            f"{source}: {len(samples)} patches of {len(samples.subjects)} subjects are more than "
            f"packed.memory_mb {config.packed.memory_mb} allows; name fewer with --subjects"
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
    """As `open_samples`, but that a pack which is too large for memory stays on the disk."""
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
            raise DataError(f"{source} has no patch of subject {', '.join(missing)}")
    if scanned.bad:
        notify(
            f"{source}: left out {len(scanned.bad)} patches that show no eye or have no "
            f"possible label (`mggr-tf data check {shlex.quote(str(source))}` lists them)"
        )
    return samples


def drawing_processes(subjects: int) -> int:
    """Processes to draw with: starting them pays for crowds only."""
    return (os.cpu_count() or 1) if subjects >= _CROWD else 1


def _drawn(config: Config, progress: Progress, *, with_flow: bool) -> EyeSamples:
    how = config.synthetic
    with progress("drawing synthetic eyes", None) as advance:
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
    """Drawn eyes as samples, without their flows."""
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
    """[G, P, P, H, W, 2] by the samples' group numbers, and all of the canonical side."""
    assert drawn.flows is not None
    per_group = drawn.flows.shape[1]
    flows = np.empty_like(drawn.flows)
    canonical = SIDES.index(Conventions().canonical_side)
    for block, codes in enumerate(drawn.flows):
        first = block * per_group
        mirrored = drawn.side[first] != canonical
        flows[samples.group[first]] = mirrored_codes(codes) if mirrored else codes
    return flows
