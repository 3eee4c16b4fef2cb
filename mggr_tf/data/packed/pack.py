"""Convert a data source to a pack. Several processes share the work.

A source is a folder of eye patches (images of one eye). A pack stores the patches of a source in a
few large files, the shards.

The folder `OUT.packing` exists only during packing. This folder contains the plan, a lock, and a
note for each shard. The shards are written to its subfolder `pack`. When all files are on disk,
this subfolder is renamed to OUT.

If packing was interrupted, the same command resumes packing, and keeps all complete shards whose
inputs have not changed. A shard is complete if its note exists and its checksum is correct. The
result depends only on the source, not on the number of processes or on interruptions.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mggr_edge.common.atomic import TAKES_NO_MORE, atomic_file, move_folder
from mggr_edge.common.progress import Progress
from mggr_edge.errors import DataError, DiskError, OutputExistsError, UsageError
from mggr_tf.data.listing import Listing
from mggr_tf.data.packed.index import (
    INDEX,
    LEFT_OUT,
    RECORD,
    RECORDS,
    About,
    is_pack,
    sha256_of,
    write_index,
    write_left_out,
)
from mggr_tf.data.packed.plan import CHUNK_PATCHES, SHARD_CHUNKS, make_plan
from mggr_tf.data.packed.shard import Order, Outcome, ShardNote, read_note, write_shard
from mggr_tf.data.processes import mapped
from mggr_tf.data.source import list_source

_PLAN, _LOCK, _PACK = "plan.sqlite", "lock", "pack"
_GOES_ON = "run the same command again to resume, or "


@dataclass(frozen=True)
class Packed:
    """The result of packing.

    Attributes:
        patches: number of patches in the pack.
        subjects: number of subjects in the pack.
        shards: number of shard files.
        kept: number of shards that an earlier run wrote.
        left_out: number of patches of the source that are not in the pack.
    """

    patches: int
    subjects: int
    shards: int
    kept: int
    left_out: int


def pack_source(
    source: Path,
    out: Path,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: Progress,
    notify: Callable[[str], None],
    chunk_patches: int = CHUNK_PATCHES,
    shard_chunks: int = SHARD_CHUNKS,
) -> Packed:
    """Pack a source. If an earlier run was interrupted, resume it.

    Args:
        source: folder in a format that `mggr_tf.data.source.READERS` can read.
        out: path of the new folder. Its parent folder must exist.
        workers: number of processes. `None` uses one process per core.
        force: whether to replace an existing `out` with all its content.
        progress: function that creates a progress bar. The progress bar counts patches.
        notify: callback for messages about shards of an earlier run.
        chunk_patches: maximum number of patches in a record.
        shard_chunks: maximum number of records in a shard.

    Raises:
        DataError: the source contains no usable pair of patches.
        DataError: the source contains a corrupt patch or a patch without a gaze label.
        DataError: the source is a pack, or the source was changed during packing.
        UsageError: the folder cannot be created, or another process is packing into it.
        OutputExistsError: `out` exists and `force` is false.
        DiskError: the disk is full or not writable. The next run reuses the complete shards.
    """
    if out.exists() and not force:
        raise OutputExistsError(out)
    if is_pack(source):
        raise DataError(
            f"{source} is already a pack; specify a folder of eye patches",
            code="already-packed",
            path=source,
        )
    if out.resolve() == source.resolve():
        raise UsageError(
            f"the output {out} is the source folder; specify another folder",
            code="output-is-source",
            path=out,
        )
    listing = list_source(source)
    folder = out.with_name(out.name + ".packing")
    sizes = {"chunk_patches": chunk_patches, "shard_chunks": shard_chunks}
    with _plainly_said(out, folder), _at_work_in(folder):
        with progress("listing patches", None) as advance:
            plan = make_plan(folder / _PLAN, listing, source=source, advance=advance, **sizes)
        if not plan.chunks:
            raise DataError(
                f"{source}: no two patches have the same subject, side and head pose; training "
                "needs pairs",
                code="no-pairs",
                path=source,
            )
        whole = folder / _PACK
        orders = [
            Order(plan, number, whole, notes=folder, read=listing.read)
            for number in range(plan.shards)
        ]
        kept = _write_shards(orders, workers, progress=progress, notify=notify)
        about = _finish(whole, orders, listing, source)
        move_folder(whole, out, force=force)
        shutil.rmtree(folder)
    return Packed(about.patches, len(about.subjects), len(about.shards), kept, about.left_out)


@contextmanager
def _at_work_in(folder: Path) -> Iterator[None]:
    """Create the folder and lock it. The lock is released when the process ends."""
    if not folder.parent.is_dir():
        raise UsageError(
            f"{folder.parent} does not exist; create it, or specify another folder",
            code="parent-missing",
            path=folder.parent,
        )
    folder.mkdir(exist_ok=True)
    with open(folder / _LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"another process is packing into {folder}; wait until it ends",
                code="pack-in-progress",
                path=folder,
            ) from error
        (folder / _PACK).mkdir(exist_ok=True)
        for half_written in (folder / _PACK).glob("*.part*-*"):
            half_written.unlink()
        try:
            yield
        finally:
            if not any(folder.glob("shard-*.json")):
                # The folder contains no complete shard, so the next run cannot reuse it.
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _plainly_said(out: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, DiskError) as error:
        raise _unfinished(out, folder, str(error)) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno in TAKES_NO_MORE:
            raise _unfinished(out, folder, reason) from error
        if isinstance(error, (FileNotFoundError, PermissionError)) and error.filename:
            raise DataError(
                f"{error.filename} cannot be read: {reason}",
                code="file-unreadable",
                path=error.filename,
                reason=reason,
            ) from error
        raise


def _unfinished(out: Path, folder: Path, reason: str) -> DiskError:
    return DiskError(
        f"{out} was not completed: {reason}; run the same command again to resume from {folder}",
        code="pack-unfinished",
        path=out,
        folder=folder,
        reason=reason,
    )


def _write_shards(
    orders: list[Order], workers: int | None, *, progress: Progress, notify: Callable[[str], None]
) -> int:
    plan, kept = orders[0].plan, 0
    tried = sum(order.note_file.exists() for order in orders)
    count = min(workers or _cores(), len(orders))
    with (
        progress("packing", plan.patches) as advance,
        mapped(_writer, orders, workers=count, otherwise=_GOES_ON) as written,
    ):
        for outcome in written:
            _refuse_fatal(outcome, plan.source)
            kept += outcome.kept
            advance(outcome.planned)
    if kept < tried:
        notify(
            f"wrote {tried - kept} shards again because the shards of an earlier run were damaged "
            "or outdated"
        )
    if kept:
        notify(f"kept {kept} of {len(orders)} shards from an earlier run")
    return kept


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def _refuse_fatal(outcome: Outcome, source: Path) -> None:
    if outcome.fatal:
        first = outcome.fatal[0]
        name = f"{source / first.file} {first.within}".rstrip()
        raise DataError(
            f"{name}: {first.reason}; `mggr-tf data check {shlex.quote(str(source))}` lists all "
            "invalid patches; remove or replace them, then run the same command again to resume",
            code="patch-invalid",
            path=source / first.file,
            within=first.within,
            reason=first.reason,
        )


def _finish(folder: Path, orders: list[Order], listing: Listing, source: Path) -> About:
    """Write the files that describe the shards. Write the index last."""
    notes = [_note(order) for order in orders]
    records = [record for note in notes for record in note.records]
    if not records:
        raise DataError(
            f"{source}: no two valid patches have the same subject, side and head pose; training "
            "needs pairs",
            code="no-valid-pairs",
            path=source,
        )
    subjects = sorted({record.subject for record in records})
    place = {name: number for number, name in enumerate(subjects)}
    table = np.zeros(len(records), RECORD)
    table["shard"] = np.repeat(np.arange(len(notes)), [len(note.records) for note in notes])
    table["offset"] = [record.offset for record in records]
    table["patches"] = [record.patches for record in records]
    table["subject"] = [place[record.subject] for record in records]
    table["group"] = [record.group for record in records]
    with atomic_file(folder / RECORDS, force=True) as temporary:
        np.save(temporary, table)
    left_out = [*orders[0].plan.left_out(), *(one for note in notes for one in note.left_out)]
    if left_out:
        with atomic_file(folder / LEFT_OUT, force=True) as temporary:
            write_left_out(temporary, left_out)
    about = About(
        source=source.resolve().name,
        licence=listing.licence,
        head_bin_deg=listing.head_bin_deg,
        subjects=tuple(subjects),
        shards=tuple(note.shard for note in notes),
        records_sha256=sha256_of(folder / RECORDS),
        patches=int(table["patches"].sum()),
        left_out=len(left_out),
        chunk_patches=orders[0].plan.chunk_patches,
    )
    write_index(folder, about)
    _remove_what_is_not_of(folder, about)
    return about


def _remove_what_is_not_of(folder: Path, about: About) -> None:
    """Remove files that do not belong to the pack, for example files of an earlier plan."""
    files = {INDEX, RECORDS, *(shard.file for shard in about.shards)}
    if about.left_out:
        files.add(LEFT_OUT)
    for path in folder.iterdir():
        if path.name in files:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)  # Such a folder can contain thumbnails.
        else:
            path.unlink()


def _note(order: Order) -> ShardNote:
    note = read_note(order.note_file)
    assert note is not None, f"{order.note_file} disappeared during packing"
    return note


def _writer() -> Callable[[Order], Outcome]:
    return write_shard
